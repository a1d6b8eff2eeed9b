"""Stage `draw`: pictures of a suite, from numbers alone."""

from pathlib import Path

import pytest

from suite_results import ACCURACY, check, digests, modules, stage, succeed, watch, write_results

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_results(tmp_path)
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
        *(f"confusion-{run}.png" for run in ACCURACY),
        "layers-worse.png",
        "logs-better.png",
        "dashboard-plain.png",
    }
    assert len(set(drawn.values())) == len(drawn)
    succeed(project, "draw", "tricks")
    assert digests(pictures) == drawn


def test_draw_needs_neither_models_nor_images_nor_torch(project: Path) -> None:
    assert modules(project, "draw", "tricks") == {"matplotlib"}


@pytest.mark.parametrize(
    ("damaged", "advice"),
    [
        ("plots/confusion/tricks/worse.csv", "run `dvc repro compare@tricks`"),
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
