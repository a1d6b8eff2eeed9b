"""Stage `draw`: pictures of a suite, from numbers alone."""

from pathlib import Path

import pytest

from suite_results import ACCURACY, check, digests, modules, stage, succeed, watch, write_results
from trainlab.evaluation import effects
from trainlab.evaluation.metrics import Predictions
from trainlab.evaluation.tables import write_csv

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_results(tmp_path)
    predictions = {run: Predictions.load(tmp_path / f"predictions/tricks/{run}.safetensors") for run in ACCURACY}
    compared = effects.compare_all([("worse", "plain"), ("better", "worse")], predictions, margin=0.01)
    write_csv(tmp_path / "metrics/tricks-comparisons.csv", effects.table(compared))
    right = {run: effects.correct(of_run) for run, of_run in predictions.items()}
    write_csv(tmp_path / "metrics/tricks-pairs.csv", effects.pairs(right))
    return tmp_path


def test_draw_writes_all_pictures_of_a_suite_and_the_same_bytes_again(project: Path) -> None:
    check(project, "worse")
    watch(project, "plain")
    pictures = project / "plots/pictures/tricks"
    pictures.mkdir(parents=True)
    (pictures / "logs-old.png").write_text("of a run that is gone")
    assert succeed(project, "draw", "tricks") == ""
    drawn = digests(pictures)
    assert set(drawn) == {
        "f1.png",
        "curves.png",
        "effects.png",
        "pairs.png",
        "reliability.png",
        *(f"confusion-{run}.png" for run in ACCURACY),
        "layers-worse.png",
        "logs-better.png",
        "dashboard-plain.png",
    }
    assert len(set(drawn.values())) == len(drawn)
    succeed(project, "draw", "tricks")
    assert digests(pictures) == drawn


def test_a_suite_of_one_run_has_no_comparisons(project: Path) -> None:
    (project / "configs/tricks/_suite.yaml").write_text("margin: 0.01\nruns: {plain: }\n")
    for name in ("comparisons", "pairs"):
        path = project / f"metrics/tricks-{name}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    succeed(project, "draw", "tricks")
    drawn = set(digests(project / "plots/pictures/tricks"))
    assert drawn == {"f1.png", "curves.png", "reliability.png", "confusion-plain.png"}


def test_a_suite_whose_runs_are_not_compared_has_its_pairs(project: Path) -> None:
    (project / "configs/tricks/_suite.yaml").write_text("margin: 0.01\nruns: {plain: , worse: , better: }\n")
    succeed(project, "compare", "tricks")
    succeed(project, "draw", "tricks")
    drawn = set(digests(project / "plots/pictures/tricks"))
    assert {"f1.png", "pairs.png"} <= drawn
    assert "effects.png" not in drawn


def test_draw_needs_neither_models_nor_images_nor_torch(project: Path) -> None:
    assert modules(project, "draw", "tricks") == {"matplotlib"}


@pytest.mark.parametrize(
    ("damaged", "advice"),
    [
        ("plots/confusion/tricks/worse.csv", "run `dvc repro compare@tricks`"),
        ("plots/reliability/tricks/worse.csv", "run `dvc repro compare@tricks`"),
        ("metrics/tricks-comparisons.csv", "run `dvc repro compare@tricks`"),
        ("metrics/tricks-pairs.csv", "run `dvc repro compare@tricks`"),
        ("metrics/checks/tricks/worse.json", "run `dvc repro check@worse`"),
    ],
)
def test_a_damaged_file_is_reported_on_one_line_and_leaves_no_pictures(
    project: Path, damaged: str, advice: str
) -> None:
    check(project, "worse")
    (project / damaged).write_text("{}")
    done = stage(project, "draw", "tricks")
    assert done.returncode == 1
    assert done.stderr.startswith(f"trainlab: {damaged} is damaged")
    assert advice in done.stderr
    assert done.stderr.count("\n") == 1
    assert digests(project / "plots/pictures") == {}
