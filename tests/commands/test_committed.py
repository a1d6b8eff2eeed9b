"""`trainlab compare` in a clone without predictions: by the tables that are in Git."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from commands.console import Call
from commands.test_compare import RUNS, compared, refused
from pages import PROJECT
from pipeline.scratch import Scratch
from trainlab.commands import committed, runs
from trainlab.evaluation import comparison, effects
from trainlab.evaluation.metrics import evaluate
from trainlab.evaluation.statistics import Difference
from trainlab.evaluation.tables import write_csv

PAIRS = [("better", "plain"), ("same", "plain"), ("single", "plain")]
MARGIN = 0.02
FILES = "metrics/tricks.csv, metrics/tricks-comparisons.csv, metrics/tricks-pairs.csv"
RECORD = {
    "training": dict.fromkeys(("epochs", "subset", "validation", "precision", "trained_on", "torch")),
    "model": {"parameters": 1},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with predictions, and with the tables of the stages `evaluate` and `compare`."""
    root = tmp_path_factory.mktemp("results")
    metrics = root / "metrics"
    for run, of_run in RUNS.items():
        of_run.save(root / f"predictions/tricks/{run}.safetensors")
        evaluate(of_run.scores, of_run.labels, of_run.classes).save(metrics / f"tricks/{run}.json", RECORD)
    write_csv(metrics / "tricks.csv", comparison.table(comparison.read_metrics(metrics / "tricks", RUNS)))
    shutil.rmtree(metrics / "tricks")  # those of the studies are not in Git
    write_csv(metrics / "tricks-comparisons.csv", effects.table(effects.compare_all(PAIRS, RUNS, MARGIN)))
    right = {run: effects.correct(of_run) for run, of_run in RUNS.items()}
    write_csv(metrics / "tricks-pairs.csv", effects.pairs(right))
    return root


@pytest.fixture
def project(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of :func:`results` to change, which is the working directory."""
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def clone(project: Path) -> Path:
    shutil.rmtree(project / "predictions")
    return project


def close(found: Any, expected: Any) -> bool:
    """Return whether both are the same but for the digits of a table."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[key], expected[key]) for key in expected)
    return bool(found == (pytest.approx(expected, rel=1e-5) if isinstance(expected, float) else expected))


@pytest.mark.parametrize(
    "arguments",
    [
        ("better", "plain"),
        ("same", "plain"),
        ("single", "plain"),
        ("plain", "better"),  # the other way round
        ("better", "same"),  # in the table of all pairs alone
        ("same", "better"),
        ("better", "plain", "--margin", "0.4"),
    ],
)
def test_the_answer_is_that_of_the_predictions(arguments: tuple[str, ...], project: Path, call: Call) -> None:
    margin = () if "--margin" in arguments else ("--margin", str(MARGIN))
    expected = compared(call, *arguments, *margin)
    shutil.rmtree(project / "predictions")
    found = compared(call, *arguments)
    if arguments[:2] not in PAIRS:  # the tables have neither
        expected["accuracy"]["df"] = None
        expected["f1_macro"] |= {"low": None, "high": None}
    assert expected["margin"] == found["margin"]
    assert close(found, {**expected, "seeds_needed": None})


@pytest.mark.parametrize("place", [".", "studies"])
def test_every_committed_comparison_is_answered(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    """In a fresh clone of this project, with metrics/ alone."""
    shutil.copytree(PROJECT / place / "metrics", tmp_path / "metrics")
    monkeypatch.chdir(tmp_path)
    tables = [pd.read_csv(path) for path in sorted(Path("metrics").glob("*-comparisons.csv"))]
    assert len(tables) > 1
    for row in pd.concat(tables).itertuples():
        found = committed.compare(row.run, None, None)
        assert found
        assert found.effect
        assert (found.scores[1].name, found.p_suite) == (row.against, row.p_holm)
        assert found.effect.difference == Difference(
            *(row.effect, row.low, row.high, row.p_value, row.df), row.seeds, row.seeds_against, row.images
        )
        assert found.scores[0].accuracy - found.scores[1].accuracy == pytest.approx(row.effect, abs=2e-6)


@pytest.mark.usefixtures("clone")
def test_what_is_compared_with_what_comes_from_the_table(call: Call) -> None:
    assert compared(call, "better") == compared(call, "better", "plain")
    assert refused(call, "plain").startswith("no run 'plain' in this directory")  # it is compared with nothing


@pytest.mark.usefixtures("clone")
def test_it_says_where_the_answer_is_from_and_how_many_comparisons_there_are(call: Call) -> None:
    lines = call("compare", "same").out.splitlines()
    alone, together = (
        compared(call, "same")["accuracy"]["p_value"],
        effects.compare_all(PAIRS, RUNS, MARGIN)[1].p_holm,
    )
    assert lines[-1] == (
        f"p = {alone:.2g} for this comparison alone, p = {together:.2g} by Holm's method for all comparisons of the suite."
        f" From {FILES}: the predictions are not here."
    )
    assert f"From {FILES}" in call("compare", "better", "same", "--markdown").out
    assert "by Holm's method" not in call("compare", "better", "same").out


@pytest.mark.usefixtures("project")
def test_an_answer_from_predictions_has_the_p_value_of_the_suite(call: Call) -> None:
    """Otherwise `trainlab compare` says that a run helps, and the tables do not."""
    for effect in effects.compare_all(PAIRS, RUNS, MARGIN):
        found = compared(call, effect.run, "plain")["accuracy"]
        assert found["p_holm"] == pytest.approx(effect.p_holm, rel=1e-5)
    assert (
        compared(call, "better", "plain")["accuracy"]["p_holm"] > effects.compare_all(PAIRS[:1], RUNS, MARGIN)[0].p_holm
    )
    assert "by Holm's method for all comparisons of the suite. " in call("compare", "same", "plain").out
    assert "by Holm's method" not in call("compare", "better", "same").out  # the suite does not compare them


def test_a_table_of_other_predictions_has_no_p_value_for_them(project: Path, call: Call) -> None:
    RUNS["same"].save(project / "predictions/tricks/plain.safetensors")
    assert compared(call, "better", "plain")["accuracy"]["p_holm"] is None
    RUNS["plain"].save(project / "predictions/tricks/plain.safetensors")
    assert compared(call, "better", "plain")["accuracy"]["p_holm"] > 0


def test_predictions_that_are_there_are_used(project: Path, call: Call) -> None:
    for table in project.glob("metrics/*-*.csv"):  # those that a comparison would read
        table.write_text("not a table")
    assert "the predictions are not here" not in call("compare", "better", "plain").out
    (project / "predictions/tricks/plain.safetensors").unlink()
    assert refused(call, "better", "plain").startswith("no run 'plain' in configs/ and predictions/")


@pytest.mark.parametrize("damage", ["", "run,against\nbetter,plain\n"])
@pytest.mark.parametrize("name", ["tricks-pairs.csv", "tricks-comparisons.csv"])
def test_a_damaged_table_is_one_line(name: str, damage: str, clone: Path, call: Call) -> None:
    (clone / "metrics" / name).write_text(damage)
    assert f"metrics/{name}" in refused(call, "better", "plain")


def test_a_table_that_is_none_has_no_runs(clone: Path, call: Call) -> None:
    (clone / "metrics/other.csv").write_text(f"run\n{'x' * 200_000}\n")  # longer than the csv module takes
    assert runs.in_tables()["better"] == ["tricks"]
    assert compared(call, "better", "plain")["run"]["accuracy"] == pytest.approx(0.9)


def test_runs_of_two_suites_and_unknown_runs_are_refused(clone: Path, call: Call) -> None:
    for table in ("", "-comparisons", "-pairs"):
        content = (clone / f"metrics/tricks{table}.csv").read_text()
        (clone / f"metrics/objectives{table}.csv").write_text(content.replace("plain", "other"))
    assert json.loads(call("compare", "better", "other", "--json").out)["against"]["name"] == "other"
    for pair in (("plain", "other"), ("better", "nothing"), ("nothing", "better"), ("better", "better")):
        assert refused(call, *pair).startswith(f"no run '{pair[0]}' in this directory")


@pytest.mark.slow
def test_names_are_completed_and_are_no_revisions(clone: Path, call: Call) -> None:
    assert runs.complete("s") == ["same", "single"]
    scratch = Scratch(clone)
    scratch.git("init", "--quiet")
    scratch.commit("results")
    for name in ("better", "plain"):
        scratch.git("branch", name)
    assert compared(call, "better", "plain")["run"]["accuracy"] == pytest.approx(0.9)
