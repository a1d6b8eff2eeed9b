"""The results of a search, read from its files."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from search.small_search import PARAMS, changed, load, searched
from trainlab.errors import UserError
from trainlab.search import engine, results
from trainlab.search.engine import METRICS, Sweep
from trainlab.search.results import Results

pytestmark = pytest.mark.slow

SPACE: dict[str, Any] = {
    "lr": {"name": "log_uniform", "low": 1e-5, "high": 1e-3},
    "optimizer.eps": {"name": "choice", "values": [1e-8, 0.123456789]},
    "batch_size": {"name": "integer", "low": 4, "high": 8},
    "inputs": {"name": "choice", "values": ["standardized", "raw"]},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def pair(directory: Path) -> tuple[engine.Outcome, Results]:
    """Return a search whose first round moves, whose second keeps a value, and whose trials end in every way."""
    second = {**PARAMS["rounds"][1], "vary": ["optimizer.eps", "batch_size", "inputs"], "trials": 6}
    pruner = {"name": "median", "startup": 2, "warmup": 0}
    content = changed(space=SPACE, rounds=[PARAMS["rounds"][0], second], pruner=pruner)
    return searched(directory, content)


def test_files_say_what_the_search_found(pair: tuple[engine.Outcome, Results]) -> None:
    outcome, found = pair
    assert any(sweep.move for sweep in found.sweeps)
    assert [(one.number, one.move, one.round, one.space) for one in found.sweeps] == [
        (one.number, one.move, one.round, one.space) for one in outcome.sweeps
    ]
    for read, ran in zip(found.sweeps, outcome.sweeps, strict=True):
        assert [trial.state for trial in read.trials] == [trial.state for trial in ran.trials]
        assert values(read) == values(ran)
        for one, other in zip(read.trials, ran.trials, strict=True):
            expected = {name: float(other.user_attrs["metrics"][name]) for name in METRICS}
            assert one.user_attrs["metrics"] == pytest.approx(expected, rel=1e-5)
    states = {trial.state for sweep in found.sweeps for trial in sweep.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    assert found.values == outcome.winner.values


def values(sweep: Sweep) -> list[dict[str, Any]]:
    """Return the values of each trial, with their types."""
    every = [sweep.values(trial) for trial in sweep.trials]
    return [{key: (type(value), value) for key, value in one.items()} for one in every]


def test_a_failed_trial_has_no_loss(tmp_path: Path) -> None:
    huge = {"lr": {"name": "choice", "values": [1e-2, 1e30]}}
    one = {"name": "rate", "vary": ["lr"], "trials": 6, "epochs": 1, "judged_by": "validation_loss"}
    _, found = searched(tmp_path, changed(space=huge, rounds=[one], moves=0))
    failed = [trial for trial in found.sweeps[0].trials if trial.state == TrialState.FAIL]
    assert failed
    assert all(math.isnan(trial.user_attrs["metrics"]["validation_loss"]) for trial in failed)


@pytest.mark.parametrize("name", ["trials.csv", "ranges.json", "result.json"])
def test_a_missing_or_damaged_file_is_named(directory: Path, pair: tuple[engine.Outcome, Results], name: str) -> None:
    settings = load(directory, changed())
    path = directory / name
    whole = path.read_bytes()
    try:
        for content in (None, b"[", b"{}\n"):
            path.unlink() if content is None else path.write_bytes(content)
            with pytest.raises(UserError, match=name):
                results.read(settings, directory)
    finally:
        path.write_bytes(whole)


def test_a_value_that_is_no_choice_is_an_error(directory: Path, pair: tuple[engine.Outcome, Results]) -> None:
    path = directory / "trials.csv"
    whole = path.read_bytes()
    settings = load(
        directory,
        changed(
            space=SPACE,
            rounds=[
                PARAMS["rounds"][0],
                {**PARAMS["rounds"][1], "vary": ["lr", "inputs", "optimizer.eps", "batch_size"]},
            ],
        ),
    )
    try:
        path.write_bytes(whole.replace(b"standardized", b"standard"))
        with pytest.raises(UserError, match=r"ranges\.json"):
            results.read(settings, directory)
    finally:
        path.write_bytes(whole)


def test_a_file_of_other_rounds_is_an_error(directory: Path, pair: tuple[engine.Outcome, Results]) -> None:
    one_round = load(directory, changed(space={"lr": SPACE["lr"]}, rounds=PARAMS["rounds"][:1]))
    assert len(json.loads((directory / "ranges.json").read_text())) > 1
    with pytest.raises(UserError, match=r"ranges\.json"):
        results.read(one_round, directory)
