"""search/params.yaml: what is valid, and one line with its path per mistake."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search.small_search import PARAMS, changed, load
from trainlab.config import load_params
from trainlab.errors import UserError
from trainlab.search import params

PROJECT = Path(__file__).parents[2]
RATE = PARAMS["space"]["lr"]
ROUND = PARAMS["rounds"][0]


def space(**own: Any) -> dict[str, Any]:
    return {"space": {**PARAMS["space"], **own}}


def first_round(**own: Any) -> dict[str, Any]:
    return {"rounds": [{**ROUND, **own}, PARAMS["rounds"][1]]}


def base(**own: Any) -> dict[str, Any]:
    return {"base": {**PARAMS["base"], **own}}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"validation": 0}, "validation is 0: it should be greater than 0"),
        ({"movs": 2}, "movs is not a parameter (did you mean moves?)"),
        ({"sampler": "randon"}, "sampler.name is 'randon' (did you mean random?); one of: random, grid, tpe"),
        ({"sampler": "grid"}, "sampler.points is missing"),
        ({"pruner": {"name": "median", "startup": 0, "warmup": 0.5}}, "pruner.startup is 0"),
        ({"rounds": []}, "rounds is []"),
        (space(lr={**RATE, "low": 0}), "space.lr.low is 0: it should be greater than 0"),
        (space(lr={**RATE, "name": "log"}), "space.lr.name is 'log' (did you mean log_uniform?)"),
        (space(lr={"name": "uniform", "low": 0.1}), "space.lr.high is missing"),
        (space(lr={**RATE, "hgih": 1}), "space.lr.hgih is not a parameter (did you mean high?)"),
        (space(lr={**RATE, "high": 1e-4}), "space.lr: it must be min <= low < high <= max"),
        (space(batch_size={"name": "choice", "values": [4]}), "space.batch_size.values is [4]"),
        (space(batch_size={"name": "uniform", "low": 1, "high": 2.5}), "space.batch_size: with 1.0, batch_size is 1.0"),
        (
            space(lr={"name": "uniform", "low": 0, "high": 1}),
            "space.lr: with 0.0, lr is 0.0: it should be greater than 0",
        ),
        (space(seed={"name": "integer", "low": 0, "high": 9}), "space.seed cannot be varied"),
        (space(epochs={"name": "integer", "low": 1, "high": 9}), "space.epochs cannot be varied"),
        (space(**{"model.units": RATE}), "model.units is not a parameter; known here"),
        (
            space(**{"optimizer.beta1": {"name": "choice", "values": [0.8, 0.9]}}),
            "space.optimizer.beta1 is varied by no round",
        ),
        (first_round(vary=["lrr"]), "rounds[0].vary names 'lrr' (did you mean lr?), which is not in space"),
        (first_round(vary=["lr", "lr"]), "rounds[0].vary names a key twice"),
        (
            changed(sampler={"name": "grid", "points": 101}),
            "rounds[1].vary names 3 keys, which with sampler.points 101 are up to 1,030,301 combinations, and at most"
            " 1,000,000 are allowed",
        ),
        (first_round(vary=[]), "rounds[0].vary is []"),
        (first_round(epochs=0), "rounds[0].epochs is 0"),
        (first_round(judged_by="test_loss"), "rounds[0].judged_by is 'test_loss'"),
        (first_round(shrink=2.0), "rounds[0].shrink is 2.0"),
        ({"rounds": ["all"]}, "rounds[0] is 'all': it must be"),
        (base(epochs=3), "base.epochs cannot be set"),
        (base(lr=-1), "base.lr is -1"),
        (base(model="three_layr"), "base.model.name is 'three_layr' (did you mean three_layer?)"),
    ],
)
def test_a_mistake_is_one_line_with_its_path(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        load(tmp_path, changed(**wrong))
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{tmp_path}/params.yaml: ") for line in lines)
    assert [line for line in lines if says in line], lines
    assert len(lines) == 1 or "is varied by no round" in lines[-1], lines


def test_several_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    wrong = changed(edge=0.7, **space(lr={**RATE, "low": -1}), **first_round(trials=0))
    with pytest.raises(UserError) as error:
        load(tmp_path, wrong)
    assert [line.partition(": ")[2].split()[0] for line in str(error.value).splitlines()] == [
        "edge",
        "space.lr.low",
        "rounds[0].trials",
    ]


def test_values_replace_those_of_the_base_run_by_path(tmp_path: Path) -> None:
    run = load(tmp_path, PARAMS).run({"lr": 0.05, "optimizer.weight_decay": 1e-4, "batch_size": 4}, epochs=7)
    assert (run.lr, run.optimizer.weight_decay, run.batch_size, run.epochs) == (0.05, 1e-4, 4, 7)
    assert run.optimizer.beta1 == 0.9
    assert run.suite == "tricks"


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"sampler": {"name": "tpe", "startup": 2}, "cohort": 3},
        {"pruner": {"name": "median", "startup": 1, "warmup": 0.5}},
    ],
)
def test_resolved_values_are_read_as_they_were(tmp_path: Path, own: dict[str, Any]) -> None:
    settings = load(tmp_path, changed(**own))
    text = params.resolved(settings)
    (tmp_path / "resolved.yaml").write_text(text)
    assert params.load_resolved(tmp_path / "resolved.yaml") == settings
    assert text.startswith(f"code: {params.code_of(settings.ends())}\n")


def test_the_search_of_the_project_is_valid_and_its_suite_exists() -> None:
    search = params.load(PROJECT / "search/params.yaml")
    first = search.rounds[0]
    assert (first.judged_by, first.subset) == ("train_loss", 100)
    epochs = [one.epochs for one in search.rounds[1:]]
    assert epochs == sorted(epochs)
    assert search.sampler.name == "random"
    suites = load_params(PROJECT / "params.yaml")["suites"]
    assert search.base["suite"] in suites


@pytest.mark.slow
def test_training_does_not_import_optuna() -> None:
    code = "import sys, trainlab.config, trainlab.training.loop, trainlab.training.progress; sys.exit('optuna' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=120, check=False).returncode == 0
