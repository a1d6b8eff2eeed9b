"""Stages `measure`, `per_sample_loss` and `draw_measure`: the numbers of a study beside its table, and their pictures."""

import shutil
from pathlib import Path

import pytest

from small import PARAMS, data
from suite_results import digests, rows, stage, succeed
from trainlab import config
from trainlab.data import stored
from trainlab.data.stored import Split
from trainlab.evaluation.metrics import evaluate, training_record
from trainlab.training.history import History
from trainlab.training.replicas import train

pytestmark = pytest.mark.slow

NARROW = {"name": "convnet", "width": 2, "depth": 1, "filter_size": 3, "hidden_dim": 0}
WIDE = {**NARROW, "width": 5}
RUNS = {
    "narrow_few": {"suite": "study", "subset": 8, "model": NARROW},
    "narrow_all": {"suite": "study", "model": NARROW},
    "wide_few": {"suite": "study", "subset": 8, "model": WIDE},
    "wide_all": {"suite": "study", "model": WIDE},
}
PICTURES = {
    "turning_points": {"rates.png", "loss_and_error.png"},
    "capacity": {"capacity.png"},
    "layers": {"layers.png"},
    "sparsity": {"sparsity.png"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the stages before these leave: four trained and scored runs, as one study per kind of measure."""
    root, images = tmp_path_factory.mktemp("project"), data()
    assert images.test is not None
    train_images, test_images = (Split(part.images, part.labels) for part in (images.train, images.test))
    stored.save(root / "data/normalized", train_images, test_images, images.train.classes)
    params = {**PARAMS, "suites": {"study": {"epochs": 2, "batch_size": 8}}, "runs": RUNS}
    runs = config.resolve(params)
    config.save_all(runs, root / "configs", config.resolve_suites(params))
    for run, settings in runs.items():
        history = History(root / f"plots/history/study/{run}.csv")
        trained = train(settings, images, on_epoch=history.add)
        metrics = evaluate(trained.scores(images.test), images.test.labels, images.test.classes)
        metrics.save(root / f"metrics/study/{run}.json", training_record(trained))
    for kind in PICTURES:
        for directory in ("metrics", "plots/history"):
            shutil.copytree(root / directory / "study", root / directory / kind)
        shutil.copytree(root / "configs/study", root / "configs" / kind)
    return root


def test_each_measure_and_its_pictures_have_the_same_bytes_again(project: Path) -> None:
    def results() -> dict[str, str]:
        for kind in PICTURES:
            succeed(project, "measure", kind, kind)
            succeed(project, "draw_measure", kind, kind)
        return digests(project / "measures") | digests(project / "plots/measures")

    first = results()
    pictures = {f"{kind}/{name}" for kind, names in PICTURES.items() for name in names}
    assert set(first) == pictures | {f"{kind}.csv" for kind in PICTURES}
    networks = rows(project / "measures/capacity.csv")
    assert [row["network"] for row in networks] == ["w2 d1 f3 h0", "w5 d1 f3 h0"]
    assert [row["parameters"] for row in networks] == ["860", "2144"]
    for kind in PICTURES.keys() - {"capacity"}:
        assert list(dict.fromkeys(row["run"] for row in rows(project / f"measures/{kind}.csv"))) == list(RUNS)
    assert results() == first


def test_losses_of_single_images_during_training(tmp_path: Path, project: Path) -> None:
    shutil.copytree(project / "data", tmp_path / "data")
    shutil.copytree(project / "configs/study", tmp_path / "configs/study")
    succeed(tmp_path, "per_sample_loss", "wide_all")
    succeed(tmp_path, "draw_measure", "per_sample_loss", "wide_all")
    counts: dict[tuple[str, str], int] = {}
    for row in rows(tmp_path / "measures/wide_all.csv"):
        key = row["epoch"], row["split"]
        counts[key] = counts.get(key, 0) + int(row["count"])
    assert counts == {("1", "train"): 40, ("1", "test"): 12, ("2", "train"): 40, ("2", "test"): 12}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["configs", "data", "measures", "plots"]  # no model
    drawn = digests(tmp_path / "plots")
    assert set(drawn) == {"measures/wide_all/losses.png", "measures/wide_all/losses.gif"}
    shutil.rmtree(tmp_path / "data")  # which pictures do not need
    succeed(tmp_path, "draw_measure", "per_sample_loss", "wide_all")
    assert digests(tmp_path / "plots") == drawn


def test_the_arithmetic_of_both_projects_runs_beside_their_accuracy(tmp_path: Path) -> None:
    images, metrics = data(), "run,accuracy,accuracy_low,accuracy_high,replicas\n{}_run,0.5,0.4,0.7,6\n"
    assert images.test is not None
    train_images, test_images = (Split(part.images, part.labels) for part in (images.train, images.test))
    stored.save(tmp_path / "data/normalized", train_images, test_images, images.train.classes)
    projects = {
        "tricks": "",
        "objectives": "",
        "record": "studies",
        "record_with": "studies",
        "record_without": "studies",
    }
    for project in ("", "studies"):
        suites = [suite for suite, of in projects.items() if of == project]
        shared = {suite: {"epochs": 2, "batch_size": 8, "model": NARROW} for suite in suites}
        params = {**PARAMS, "suites": shared, "runs": {f"{suite}_run": {"suite": suite} for suite in suites}}
        config.save_all(config.resolve(params), tmp_path / project / "configs", config.resolve_suites(params))
        for suite in suites:
            (tmp_path / project / "metrics").mkdir(exist_ok=True)
            (tmp_path / project / f"metrics/{suite}.csv").write_text(metrics.format(suite))
    studies = tmp_path / "studies"
    succeed(studies, "compute", "--data", "../data/normalized")
    counted = rows(studies / "measures/compute.csv")
    assert [row["run"] for row in counted] == [*("tricks_run", "objectives_run", "record_without_run", "record_run")]
    assert {(row["accuracy"], row["replicas"]) for row in counted} == {("0.5", "6")}
    assert len({row["petaflop"] for row in counted}) == 1
    succeed(studies, "draw_measure", "compute", "compute")
    assert set(digests(studies / "plots")) == {"measures/compute/compute.png"}

    (studies / "metrics/record.csv").unlink()
    failed = stage(studies, "compute", "--data", "../data/normalized")
    says = "metrics/record.csv is missing: run `dvc repro compare@record`"
    assert (failed.returncode, failed.stderr) == (1, f"trainlab: {says}\n")


def test_mistakes_are_reported_on_one_line_and_leave_nothing(project: Path) -> None:
    before = digests(project)
    for name, *arguments, says in (
        (
            "draw_measure",
            "per_sample_loss",
            "narrow_all",
            "measures/narrow_all.csv is missing: run `dvc repro per_sample_loss`",
        ),
        ("draw_measure", "layers", "inputs", "measures/inputs.csv is missing: run `dvc repro measure@inputs`"),
        (
            *("measure", "turning_points", "inputs"),
            "configs/inputs/_suite.yaml is missing: is there a suite inputs in params.yaml? Then run `dvc repro resolve`",
        ),
    ):
        failed = stage(project, name, *arguments)
        assert (failed.returncode, failed.stderr) == (1, f"trainlab: {says}\n")
    unknown = stage(project, "measure", "rate", "capacity")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "'rate' is not one of" in unknown.stderr
    assert digests(project) == before
