"""Stage `report`: one page from the files of all other stages."""

from pathlib import Path

import numpy as np
import pytest

from suite_results import ACCURACY, CLASSES, check, digests, modules, stage, succeed, write_results
from trainlab.data import stored
from trainlab.data.stored import Split

pytestmark = pytest.mark.slow

PARAMS = """\
lr: 1.0e-3
data: {source: digits}
suites: {tricks: {epochs: 2}}
runs: {plain: {suite: tricks}}
"""
CONFIG = "run: {run}\nsuite: tricks\nlr: {lr}\nepochs: 2\ncode: 0123456789abcdef\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("made")
    write_results(project)
    (project / "params.yaml").write_text(PARAMS)
    for run in ACCURACY:
        lr = 0.002 if run == "better" else 0.001
        (project / f"configs/tricks/{run}.yaml").write_text(CONFIG.format(run=run, lr=lr))
        check(project, run)
    split = Split(np.arange(4 * 4, dtype=np.uint8).reshape(4, 1, 2, 2), np.array([0, 0, 1, 1]))
    stored.save(project / "data/normalized", split, split, list(CLASSES))
    (project / "data/raw").mkdir()
    (project / "data/raw/digits.csv").write_text("0,1\n")
    succeed(project, "compare", "tricks")
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(made, tmp_path / "project"))


def page(project: Path) -> str:
    return (project / "report/index.html").read_text(encoding="utf-8")


def test_report_writes_one_page_and_the_same_bytes_again(project: Path) -> None:
    assert succeed(project, "report").startswith("report/index.html: ")
    first = digests(project / "report")
    assert set(first) == {"index.html"}
    succeed(project, "report")
    assert digests(project / "report") == first

    text = page(project)
    assert "8c18e3a0fc1d9ed60d4ef0ba2a4ec5ee" in text or "digits.csv" in text
    assert "lr</th><td>0.002 <span" in text  # marked, and only in `better`
    assert text.count("differs from the suite") == 1
    assert "The studies have no results here: <code>make studies</code> runs them." in text
    assert "The search has no results here: <code>make search</code> runs it." in text


def test_report_needs_neither_torch_nor_matplotlib(project: Path) -> None:
    assert modules(project, "report") == set()


def test_parts_that_are_missing_are_named_with_their_command(project: Path) -> None:
    import shutil

    succeed(project, "report")
    whole = page(project)
    for directory in ("predictions", "timings"):  # which are not in Git, and which the page does not need
        shutil.rmtree(project / directory)
    succeed(project, "report")
    assert page(project) == whole
    shutil.rmtree(project / "metrics/checks")
    succeed(project, "report")
    assert "<code>dvc repro check</code>" in page(project)
    shutil.rmtree(project / "data")
    succeed(project, "report")
    assert "The images are not here: <code>dvc repro normalize</code> makes them." in page(project)
    (project / "metrics/tricks.csv").unlink()
    succeed(project, "report")
    assert "<code>dvc repro compare@tricks</code>" in page(project)


def test_a_suite_and_a_study_whose_runs_are_not_compared(project: Path) -> None:
    import shutil

    (project / "configs/tricks/_suite.yaml").write_text("margin: 0.01\nruns: {plain: , worse: , better: }\n")
    succeed(project, "compare", "tricks")
    shutil.copytree(project / "metrics", project / "studies/metrics")
    (project / "studies/params.yaml").write_text("suites: {tricks: {}}\n")
    succeed(project, "report")
    assert page(project).count("None of its runs is compared with another one.") == 2

    (project / "studies/metrics/tricks-comparisons.csv").unlink()
    succeed(project, "report")
    assert "<code>dvc --cd studies repro compare@tricks</code>" in page(project)
    (project / "studies/metrics/tricks-comparisons.csv").write_text("")
    done = stage(project, "report")
    assert done.stderr.startswith("trainlab: studies/metrics/tricks-comparisons.csv is damaged")


def test_studies_and_search_are_on_the_page(project: Path) -> None:
    import shutil

    for kind in ("", "-comparisons"):
        (project / "studies/metrics").mkdir(parents=True, exist_ok=True)
        shutil.copy(project / f"metrics/tricks{kind}.csv", project / f"studies/metrics/alpha{kind}.csv")
    header, *others = (project / "studies/metrics/alpha.csv").read_text().splitlines()
    views = [f"{header},views", *(f"{row},{'mirrored' * (number == 0)}" for number, row in enumerate(others))]
    (project / "studies/metrics/alpha.csv").write_text("\n".join(views) + "\n")
    (project / "studies/params.yaml").write_text("suites: {alpha: {}, epsilon: {}}\n")
    search = project / "search"
    search.mkdir()
    (search / "trials.csv").write_text("round,move,trial,state,epochs,optimizer.name\n1,,1,complete,2,adam\n")
    (search / "best.yaml").write_text("best: {lr: 2.0e-3}\n")
    (search / "timings.json").write_text('{"seconds": 60.0, "trials": 1, "trained_on": "CPU"}')
    (search / "result.json").write_text(
        '{"round": 1, "trial": 1, "validation_loss": 0.5, "validation_accuracy": 0.75, "validation_images": 20,'
        ' "test_accuracy": 0.5, "test_images": 4}'
    )
    succeed(project, "report")
    text = page(project)
    assert 'id="study-alpha"' in text
    assert "mean of the views none except plain (mirrored)" in text
    assert "<code>dvc --cd studies repro compare@epsilon</code>" in text
    assert "validation accuracy 75.00 %" in text
    assert "adam" in text


@pytest.mark.parametrize(
    ("damaged", "advice"),
    [
        ("metrics/tricks.csv", "run `dvc repro compare@tricks`"),
        ("metrics/tricks-details.json", "run `dvc repro compare@tricks`"),
        ("plots/confusion/tricks/worse.csv", "run `dvc repro compare@tricks`"),
        ("data/normalized/stats.json", "run `dvc repro normalize`"),
    ],
)
def test_a_damaged_file_is_reported_on_one_line_and_leaves_no_page(project: Path, damaged: str, advice: str) -> None:
    (project / damaged).write_text("{}")
    done = stage(project, "report")
    assert done.returncode == 1
    assert done.stderr.startswith(f"trainlab: {damaged} is damaged")
    assert advice in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (project / "report").exists()
