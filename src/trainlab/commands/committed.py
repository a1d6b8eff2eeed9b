"""Two runs of a suite compared by the tables that are in Git, for a clone that has no predictions."""

import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from trainlab.commands.answer import Answer, Scores
from trainlab.commands.runs import in_tables, predictions
from trainlab.errors import UserError
from trainlab.evaluation import effects
from trainlab.evaluation.effects import Effect
from trainlab.evaluation.statistics import Difference
from trainlab.evaluation.tables import read_csv

SAME = ("effect", "low", "high")  # which a table has with an error of at most ROUNDED
ROUNDED = 1e-6
SCORES = ["run", "replicas", "accuracy", "accuracy_std", "f1_macro", "loss", "calibration_error", "test_images"]


def compare(run: str, against: str | None, margin: float | None) -> Answer | None:
    """Compare two runs by the tables of their suite in metrics/.

    Parameters
    ----------
    run, against
        Their names; None for the run that the suite compares it with.
    margin
        Difference of two accuracies that matters, a fraction; None for that of the suite.

    Returns
    -------
    Answer or None
        None if the predictions of a run are there, or no suite has tables with this pair.

    Raises
    ------
    UserError
        If a table is damaged.
    """
    scored = {path.stem for path in predictions()}
    for suite in [] if {run, against} & scored else in_tables().get(run, []):
        paths = [Path("metrics", f"{suite}{name}.csv") for name in ("", "-comparisons", "-pairs")]
        if not all(path.is_file() for path in paths):
            continue
        columns = (SCORES, effects.COLUMNS, effects.PAIRS)
        scores, compared, pairs = (
            read_csv(path, own, f"compare@{suite}") for path, own in zip(paths, columns, strict=True)
        )
        own = compared[compared["run"] == run]
        other = against or (own["against"].item() if len(own) == 1 else "")
        pair = pairs[pairs["run"].isin((run, other)) & pairs["against"].isin((run, other))]
        if run == other or len(pair) != 1 or other in scored:
            continue
        both = _scores(scores, run), _scores(scores, other)
        limit = float(compared["margin"].iloc[0]) if margin is None else margin
        direct = own[own["against"] == other]
        p_suite = float(direct["p_holm"].iloc[0]) if len(direct) else None
        effect = _effect(pair.iloc[0], both, limit, direct)
        return Answer(both, limit, effect, seeds=None, tables=tuple(paths), p_suite=p_suite)
    return None


def with_suite(answer: Answer) -> Answer:
    """Return an answer from predictions with the p-value for all comparisons of the suite.

    If a table in metrics/ has the same comparison of the same predictions; else the answer as it is.
    """
    if answer.effect is None:
        return answer
    run, against, found = answer.effect.run, answer.effect.against, answer.effect.difference
    for suite in in_tables().get(run, []):
        path = Path("metrics", f"{suite}-comparisons.csv")
        with suppress(UserError):  # damaged: the answer does not depend on it
            table = read_csv(path, effects.COLUMNS, f"compare@{suite}")
            for row in table[(table["run"] == run) & (table["against"] == against)].itertuples():
                if all(math.isclose(getattr(row, name), getattr(found, name), abs_tol=ROUNDED) for name in SAME):
                    return replace(answer, p_suite=float(row.p_holm))
    return answer


def _scores(table: pd.DataFrame, run: str) -> Scores:
    [row] = table.loc[table["run"] == run, SCORES].itertuples(index=False)
    return Scores(
        run,
        seeds=int(row.replicas),
        images=int(row.test_images),
        accuracy=float(row.accuracy),
        accuracy_std=None if pd.isna(row.accuracy_std) else float(row.accuracy_std),
        f1_macro=float(row.f1_macro),
        loss=float(row.loss),
        calibration_error=float(row.calibration_error),
    )


def _effect(pair: Any, scores: tuple[Scores, Scores], margin: float, direct: pd.DataFrame) -> Effect:
    """Return the difference of a pair of runs in the order that is asked for.

    Parameters
    ----------
    pair
        Its row in metrics/SUITE-pairs.csv.
    scores
        Of both runs, in this order.
    margin
        Difference that matters.
    direct
        The row of metrics/SUITE-comparisons.csv that compares them in this order, which has more; empty if there is none.
    """
    a, b = scores
    sign = 1 if pair["run"] == a.name else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    f1, df = (a.f1_macro - b.f1_macro, float("nan"), float("nan")), float("nan")
    if len(direct):
        row = direct.iloc[0]
        f1, df = (row["f1_effect"], row["f1_low"], row["f1_high"]), row["df"]
    difference = Difference(sign * pair["effect"], low, high, pair["p_value"], df, a.seeds, b.seeds, a.images)
    return Effect(a.name, b.name, difference, f1, difference.p_value, margin)
