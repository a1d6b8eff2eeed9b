"""The geometry of the charts."""

import math
import re

import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pandas import DataFrame

from trainlab.report import charts
from trainlab.report.scales import axis, number

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))


@given(st.lists(numbers, min_size=1, max_size=9), st.integers(2, 9), st.booleans())
@example([0.5], 5, False)
@example([1.0, 10.0], 8, True)
def test_an_axis_contains_its_values_and_its_ticks(values: list[float], count: int, whole: bool) -> None:
    assume(max(values) - min(values) > 1e-3 or len(set(values)) == 1)
    scale = axis(values, count=count, whole=whole)
    assert all(0 <= scale.at(value) <= 100 for value in [*values, *scale.ticks])
    steps = [after - before for before, after in zip(scale.ticks, scale.ticks[1:], strict=False)]
    assert all(step == pytest.approx(steps[0], rel=1e-6) for step in steps)
    assert len(scale.ticks) <= count + 2
    if whole:
        assert all(tick == int(tick) for tick in scale.ticks)
    shown = [scale.label(tick).replace("−", "-") for tick in scale.ticks]
    assert [float(text) for text in shown] == pytest.approx(scale.ticks)


def test_an_axis_without_finite_values_is_there() -> None:
    assert axis([math.nan, math.inf]).at(0.5) == pytest.approx(50)


def test_numbers_have_a_true_minus_and_a_missing_one_is_a_dash() -> None:
    assert [number(-1.25, 1), number(2, 0, signed=True), number(math.nan, 3)] == ["−1.2", "+2", "–"]


EFFECT = {"p_holm": 0.02, "margin": 0.01, "seeds": 6, "seeds_against": 6, "verdict": "helps", "answer": "it helps"}


def test_a_forest_plot_has_each_comparison_in_its_group() -> None:
    rows = [
        {"run": "a", "against": "b", "effect": 0.02, "low": 0.01, "high": 0.03, **EFFECT},
        {"run": "c", "against": "d", "effect": -0.02, "low": -0.04, "high": 0.0, **EFFECT},
        {"run": "e", "against": "b", "effect": 0.0, "low": -0.01, "high": 0.01, **EFFECT},
    ]
    plot = charts.forest(DataFrame(rows))
    assert {against: [row.run for row in of_group] for against, of_group in plot.groups.items()} == {
        "b": ["a", "e"],
        "d": ["c"],
    }
    for row in rows:
        [drawn] = [found for found in plot.groups[str(row["against"])] if found.run == row["run"]]
        for name in ("low", "effect", "high"):
            assert getattr(drawn, name) == plot.axis.at(100 * float(str(row[name])))
    assert plot.groups["b"][1].effect == plot.zero
    assert plot.margin == (plot.axis.at(-1), plot.axis.at(1))
    assert plot.cover == "other seeds and other test images"


def curves(values: dict[str, list[list[float]]]) -> DataFrame:
    """Return rows of test accuracies: by run, per seed, per epoch."""
    return DataFrame(
        [
            {"run": run, "replica": seed, "epoch": epoch, "test_accuracy": value}
            for run, seeds in values.items()
            for seed, of_seed in enumerate(seeds)
            for epoch, value in enumerate(of_seed, 1)
        ]
    )


def test_a_line_is_the_mean_and_its_band_the_range_of_the_seeds() -> None:
    rows = curves({"b": [[0.0, 0.2, 0.4], [0.2, 0.4, 0.8]], "a": [[0.5, 0.5, 0.5]]})
    found = charts.panel(rows, "test_accuracy", ["b", "a"], title="accuracy", digits=2, factor=100)
    assert [line.run for line in found.lines] == ["b", "a"]
    assert found.values == {"b": {1: 10.0, 2: 30.0, 3: 60.0}, "a": {1: 50.0, 2: 50.0, 3: 50.0}}
    heights = [100 - float(top) for top in re.findall(r" ([\d.]+)", found.lines[0].path)]
    assert heights == pytest.approx([found.y.at(value) for value in (10, 30, 60)], abs=0.01)
    band = [100 - float(top) for top in re.findall(r" ([\d.]+)", found.lines[0].band)]
    assert band == pytest.approx([found.y.at(value) for value in (20, 40, 80, 40, 20, 0)], abs=0.01)
    assert found.lines[1].band == ""  # one seed
    assert found.lines[0].look != found.lines[1].look


def test_one_epoch_is_a_dot() -> None:
    [line] = charts.panel(curves({"a": [[0.5]]}), "test_accuracy", ["a"], title="", digits=2).lines
    assert line.dots
    assert line.path.endswith("h0")


def test_runs_beyond_the_palette_have_another_line() -> None:
    runs = [f"run_{i}" for i in range(3 * charts.COLORS)]
    looks = charts.looks(runs)
    assert len({(look.color, look.dash) for look in looks.values()}) == len(runs)


def test_a_pair_has_the_other_sign_on_the_other_side_of_the_diagonal() -> None:
    rows = DataFrame([{"run": "b", "against": "a", "effect": 0.02, "p_holm": 0.2}])
    [[first, above], [below, second]] = charts.pairs(rows, ["a", "b"], level=0.05)
    assert first is second is None
    assert above is not None
    assert below is not None
    assert (above.text, below.text) == ("−2.0", "+2.0")
    assert not above.shown
    [[_, above], _] = charts.pairs(rows.assign(p_holm=0.01), ["a", "b"], level=0.05)
    assert above is not None
    assert above.shown


def test_every_seed_is_a_dot() -> None:
    table = DataFrame([{"run": "a", "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}])
    plot = charts.accuracies(table, {"a": [0.45, 0.55]})
    assert [dot.label for dot in plot.rows[0].dots] == ["a, seed 1 of 2: 45.00 %", "a, seed 2 of 2: 55.00 %"]
    assert [dot.at for dot in plot.rows[0].dots] == [plot.axis.at(45), plot.axis.at(55)]
    assert plot.rows[0].text == "50.00 (40.00 to 60.00)"


def test_a_reliability_diagram_is_the_mean_per_bin() -> None:
    rows = DataFrame(
        [[0, 0, 5, 0.2, 0.1], [0, 1, 5, 0.8, 0.9], [1, 0, 5, 0.4, 0.3], [1, 1, 5, 0.6, 0.7]],
        columns=["replica", "bin", "images", "confidence", "accuracy"],
    )
    diagram = charts.reliability("a", charts.Look(0, ""), rows, 0.05)
    assert [(left, top) for left, top, _ in diagram.points] == [(30, 80), (70, 20)]
    assert diagram.points[0][2] == "a: confidence 30.0 %, accuracy 20.0 %"
    assert len(diagram.replicas) == 2
    assert charts.reliability("a", charts.Look(0, ""), rows[:2], 0.05).replicas == []
    assert not pd.isna(diagram.error)
