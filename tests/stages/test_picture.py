"""Stages `per_sample_loss`, `weights` and `picture`: what a study is understood by, beside its table."""

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from small import PARAMS, data
from trainlab import config
from trainlab.data import stored
from trainlab.evaluation.metrics import evaluate
from trainlab.training.history import History
from trainlab.training.loop import train

STAGES = Path(__file__).parents[2] / "stages"
UNDER = Path("studies/protocol")
NARROW = {"name": "convnet", "width": 2, "depth": 1, "filter_size": 3, "hidden_dim": 0}
WIDE = {**NARROW, "width": 5}
RUNS = {
    "narrow_few": {"suite": "capacity", "subset": 8, "model": NARROW},
    "narrow_all": {"suite": "capacity", "model": NARROW},
    "wide_few": {"suite": "capacity", "subset": 8, "model": WIDE},
    "wide_all": {"suite": "capacity", "model": WIDE},
}
KINDS = {
    "rates": {"rates.png", "loss_and_error.png", "turns.csv"},
    "capacity": {"capacity.png", "capacity.csv"},
    "layers": {"layers.png", "layers.csv"},
    "sparsity": {"sparsity.png", "sparsity.csv"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """What the stages before these leave of a study `capacity`: four runs, trained and evaluated."""
    root = tmp_path_factory.mktemp("project")
    under, images = root / UNDER, data()
    stored.save(root / "data/normalized", images.train, images.test, images.train.classes)
    runs = config.resolve({**PARAMS, "suites": {"capacity": {"epochs": 2, "batch_size": 8}}, "runs": RUNS})
    config.save_all(runs, under / "configs")
    (under / "dvc.yaml").touch()
    for run, settings in runs.items():
        history = History(under / f"plots/history/capacity/{run}.csv")
        trained = train(settings, images, on_epoch=history.add)
        trained.save(under / f"models/{run}.safetensors")
        metrics = evaluate(trained.scores(images.test), images.test.labels, images.test.classes)
        metrics.save(under / f"metrics/capacity/{run}.json", trained_on=trained.describe())
        metrics.save_confusion(under / f"plots/confusion/capacity/{run}.csv")
        succeeds(root, "weights", run)
    return root


def stage(project, name, *arguments):
    command = [sys.executable, STAGES / f"{name}.py", *arguments, "--under", UNDER]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def succeeds(project, name, *arguments):
    done = stage(project, name, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def digests(directory):
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_weights_of_a_run(project):
    counted = json.loads((project / UNDER / "weights/capacity/narrow_few.json").read_text())
    weights = 3 * 3 * 3 * 2 + 2 * 10 * 10 * 4
    assert (counted["parameters"], counted["weights"]) == (weights + 2 + 4, weights)
    assert 0 <= counted["near_zero"] < 0.2


@pytest.mark.parametrize(("kind", "files"), KINDS.items())
def test_a_kind_of_picture_comes_with_its_numbers_and_the_same_bytes_again(project, kind, files):
    pictures = project / UNDER / "plots/pictures/capacity"
    succeeds(project, "picture", kind, "capacity")
    before = digests(pictures)
    assert set(before) == files
    [numbers] = [rows(pictures / name) for name in files if name.endswith(".csv")]
    by_network = [row["network"] for row in numbers] if kind == "capacity" else None
    assert by_network in (None, ["w2 d1 f3 h0", "w5 d1 f3 h0"])
    if kind != "capacity":
        assert list(dict.fromkeys(row["run"] for row in numbers)) == list(RUNS)
    succeeds(project, "picture", kind, "capacity")
    assert digests(pictures) == before


def test_losses_of_single_images_as_a_run_is_trained(project):
    said = succeeds(project, "per_sample_loss", "wide_all")
    assert "wide_all epoch 2/2" in said
    table = rows(project / UNDER / "plots/per_sample_loss/wide_all.csv")
    counts = {}
    for row in table:
        key = row["epoch"], row["split"]
        counts[key] = counts.get(key, 0) + int(row["count"])
    assert counts == {("1", "train"): 40, ("1", "test"): 12, ("2", "train"): 40, ("2", "test"): 12}

    pictures = project / UNDER / "plots/pictures/wide_all"
    succeeds(project, "picture", "per_sample_loss", "wide_all")
    before = digests(pictures)
    assert set(before) == {"losses.png", "losses.gif"}
    succeeds(project, "picture", "per_sample_loss", "wide_all")
    assert digests(pictures) == before


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("per_sample_loss", "wide_few"), "run wide_few has subset 8"),
        (("picture", "per_sample_loss", "narrow_all"), "run `dvc repro studies/protocol/dvc.yaml:per_sample_loss`"),
        (
            ("picture", "rates", "update_rules"),
            "configs/update_rules/_runs.yaml is missing: is there a suite update_rules",
        ),
        (("picture", "rate", "capacity"), "'rate' is not one of"),
        (("weights", "wider"), "studies/protocol/models/wider.safetensors is missing"),
    ],
)
def test_a_mistake_is_told_in_a_line_and_leaves_nothing(project, command, said):
    pictures = project / UNDER / "plots/pictures"
    before = sorted(pictures.glob("*")) if pictures.exists() else []
    failed = stage(project, *command)
    assert failed.returncode in (1, 2)
    assert said in failed.stderr
    assert failed.stderr.startswith("trainlab: ")
    assert failed.stderr.count("\n") == 1
    assert (sorted(pictures.glob("*")) if pictures.exists() else []) == before
