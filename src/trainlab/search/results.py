"""Read the results of a search from the files that the stage `search` writes."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter

from trainlab.evaluation.tables import read_csv
from trainlab.files import reading
from trainlab.search.engine import METRICS, STATES, Sweep
from trainlab.search.params import Round, Search
from trainlab.search.space import AnyDimension, Choice, Dimension, Integer, Value

_DIMENSION: TypeAdapter[Dimension] = TypeAdapter(AnyDimension)


@dataclass(frozen=True)
class Results:
    """The trials of a search, and its winner.

    Parameters
    ----------
    sweeps
        The passes of the rounds, in order; their trials have no times and no intermediate values.
    result
        The content of result.json, see :meth:`trainlab.search.engine.Outcome.result`.
    """

    sweeps: list[Sweep]
    result: dict[str, Any]

    @property
    def values(self) -> dict[str, Value]:
        """The winner's values, by key of the space."""
        return cast(dict[str, Value], self.result["values"])


def read(settings: Search, directory: Path) -> Results:
    """Read ``trials.csv``, ``ranges.json`` and ``result.json``.

    Raises
    ------
    UserError
        If a file is missing, damaged, or of a search with other rounds.
    """
    with reading(directory / "result.json", "search"):
        result = json.loads((directory / "result.json").read_text(encoding="utf-8"))
        _ = result["values"], result["validation_loss"], result["validation_images"], result["trained_on"]
    trials = _read_trials(directory / "trials.csv")
    with reading(directory / "ranges.json", "search"):
        passes = json.loads((directory / "ranges.json").read_text(encoding="utf-8"))
        sweeps = list(_sweeps(settings, passes, trials))
        if not sweeps:
            raise ValueError("it names no round")
    return Results(sweeps, result)


def _read_trials(path: Path) -> list[dict[str, str]]:
    with reading(path, "search"):
        columns = list(pd.read_csv(path, nrows=0).columns)
    # As text: a value may be a name, and a column with gaps would turn integers into other numbers.
    rows = read_csv(path, ["round", "move", "state", *METRICS], "search", names=columns)
    return cast(list[dict[str, str]], rows.to_dict("records"))


def _sweeps(settings: Search, passes: Any, trials: list[dict[str, str]]) -> Iterator[Sweep]:
    for one in passes:
        number, move = one["round"], one["move"]
        space = {key: _DIMENSION.validate_python(dimension) for key, dimension in one["space"].items()}
        rows = [row for row in trials if (row["round"], row["move"]) == (str(number), str(move))]
        others = [key for key in settings.space if key not in space and rows and rows[0].get(key)]
        kept = {key: _parsed(settings.space[key], rows[0][key]) for key in others}
        of_round = settings.rounds[number - 1]
        yield Sweep(number, of_round, move, space, kept, [_trial(of_round, space, row) for row in rows])


def _trial(of_round: Round, space: Mapping[str, Dimension], row: Mapping[str, str]) -> FrozenTrial:
    [state] = [state for state, name in STATES.items() if name == row["state"]]
    metrics = {name: float(row[name]) if row[name] else math.nan for name in METRICS}
    return optuna.create_trial(
        state=state,
        value=metrics[of_round.judged_by] if state == TrialState.COMPLETE else None,
        params={key: _parsed(dimension, row[key]) for key, dimension in space.items()},
        distributions={key: dimension.distribution() for key, dimension in space.items()},
        user_attrs={"metrics": metrics},
    )


def _parsed(dimension: Dimension, text: str) -> Value:
    """Return the value that was written as this text."""
    if isinstance(dimension, Choice):
        return {
            **{f"{value:.6g}": value for value in dimension.values if _is_number(value)},
            **{str(value): value for value in dimension.values},
        }[text]
    return int(text) if isinstance(dimension, Integer) else float(text)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
