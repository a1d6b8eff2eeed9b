import json
import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from pandas import DataFrame
from PIL import Image
from ruamel.yaml import YAML

from drawn import contrast, cut_off, labels, legend, overlapping, texts, widths, x_of, y_of
from small import data, run_config
from trainlab.evaluation import comparison, effects, plots
from trainlab.evaluation.answers import Verdict
from trainlab.evaluation.plots import Picture
from trainlab.training.loop import Row
from trainlab.training.replicas import train

TEMPLATES = Path(__file__).parents[2] / ".dvc/plots"
SCORES = {"plain": [0.685], "better": [0.72, 0.73, 0.75]}
INTERVALS = {"plain": (0.675, 0.694), "better": (0.72, 0.74)}


def some_counts(size: int = 3) -> DataFrame:
    """Return a confusion matrix; the second row and column differ from the others."""
    classes = [f"class {i}" for i in range(size)]
    counts = np.eye(size, dtype=int) * 15 + 1
    counts[1] = 0
    counts[1, 0] = 8
    return DataFrame(counts, classes, classes)


def confusion(counts: DataFrame) -> Picture:
    return plots.confusion(counts, title="plain", caption="accuracy 50.00% of 20 images")


def some_histories(runs: Iterable[str], replicas: int = 1, epochs: int = 3) -> DataFrame:
    rows = [
        {
            "run": run,
            "replica": r,
            "epoch": e,
            "train_loss": 2 / e,
            "test_loss": 2.1 / e,
            "test_accuracy": 0.7 - 0.2 / e - r / 100,
        }
        for run in runs
        for r in range(replicas)
        for e in range(1, epochs + 1)
    ]
    return DataFrame(rows)


def bars() -> Picture:
    return plots.bars(SCORES, INTERVALS, score="micro-F1", title="tricks", caption="100 test images")


POLICY = ["reward", "entropy", "baseline", "baseline_loss"]


def some_logs(names: list[str] = POLICY, replicas: int = 1, epochs: int = 3) -> Picture:
    history = some_histories(["plain"], replicas, epochs)
    for i, name in enumerate(names):
        history[name] = 0.1 * i + 0.3 / history["epoch"] + 0.1 * history["replica"]
    return plots.logs(history, names, title="plain", caption="100 test images")


def test_confusion_writes_each_count_into_its_cell() -> None:
    axes = confusion(some_counts()).figure.axes[0]
    assert texts(axes) == ["16", "1", "1", "8", "0", "0", "1", "1", "16"]
    shares = np.asarray(axes.images[0].get_array())
    assert shares.tolist() == [[16 / 18, 1 / 18, 1 / 18], [1, 0, 0], [1 / 18, 1 / 18, 16 / 18]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class 0", "class 1", "class 2"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["class 0", "class 1", "class 2"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "actual class")
    assert axes.get_title(loc="left") == "plain\naccuracy 50.00% of 20 images"


@pytest.mark.slow
def test_confusion_of_a_hundred_classes_has_no_numbers_and_fits(tmp_path: Path) -> None:
    picture = confusion(some_counts(100))
    picture.save(tmp_path / "hundred.png")
    assert texts(picture.figure.axes[0]) == []
    with Image.open(tmp_path / "hundred.png") as image:
        assert max(image.size) < 3000


def test_confusion_of_a_class_without_images() -> None:
    counts = some_counts()
    counts.iloc[1] = 0
    picture = confusion(counts)
    assert np.asarray(picture.figure.axes[0].images[0].get_array())[1].tolist() == [0, 0, 0]
    picture.png()


def test_bars_start_at_zero_and_carry_their_values() -> None:
    whole, enlarged = bars().figure.axes
    assert whole.get_xlim()[0] == 0
    assert widths(whole) == pytest.approx([0.685, 0.7333], abs=1e-3)
    assert texts(whole) == ["0.685", "0.733"]
    assert "does not start at 0" in enlarged.get_xlabel()


def test_bars_show_replicas_and_what_the_marks_are() -> None:
    picture = bars()
    drawn = [x_of(line) for line in picture.figure.axes[1].lines if len(x_of(line)) > 2]
    assert drawn == [[0.72, 0.73, 0.75]]
    note = picture.figure.get_supxlabel()
    assert "100 test images" in note
    assert "dots: replicas" in note
    alone = plots.bars({"plain": [0.5]}, {"plain": (0.4, 0.6)}, score="micro-F1", title="", caption="")
    assert "One seed per run" in alone.figure.get_supxlabel()
    assert "dots" not in alone.figure.get_supxlabel()


def test_replicas_with_the_same_score_are_dots_beside_each_other() -> None:
    scores = {"plain": [0.5, 0.7, 0.5, 0.5, 0.5, 0.5], "better": [0.6, 0.6]}
    intervals = {"plain": (0.4, 0.7), "better": (0.5, 0.7)}
    dots = [
        line
        for line in plots.bars(scores, intervals, score="micro-F1", title="", caption="").figure.axes[1].lines
        if line.get_marker() == "o"
    ]
    assert [x_of(line) for line in dots] == [[0.5] * 5 + [0.7], [0.6] * 2]
    for row, line in enumerate(dots):
        places = list(zip(x_of(line), y_of(line), strict=True))
        assert len(set(places)) == len(places)
        assert max(abs(y - row) for _, y in places) <= 0.4
    assert y_of(dots[0])[-1] == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).map(sorted), st.floats(0.001, 0.5))
def test_dots_on_one_level_do_not_overlap(values: list[float], width: float) -> None:
    levels = plots._levels(values, width)
    assert len(levels) == len(values)
    for level in set(levels):
        on_level = [value for value, of_value in zip(values, levels, strict=True) if of_value == level]
        assert all(np.diff(on_level) >= width)
        assert len(levels) > 2 * abs(level) - 1  # the closest level to 0 that is free
    if all(np.diff(values) >= width):
        assert set(levels) == {0}


EFFECTS = DataFrame(
    [
        ["lr_schedule", "norm_inputs", 6, 6, 0.016, 0.009, 0.023, 0.001, "helps"],
        ["dropout", "init", 6, 6, -0.03, -0.04, -0.02, 0.001, "hurts"],
        ["weight_decay", "norm_inputs", 6, 6, 0.001, -0.005, 0.007, 0.7, "no difference that matters"],
        ["init", "norm_inputs", 6, 6, 0.0004, -0.012, 0.0128, 0.9, "no difference shown"],
    ],
    columns=["run", "against", "seeds", "seeds_against", "effect", "low", "high", "p_holm", "verdict"],
)


def forest(rows: DataFrame = EFFECTS, margin: float = 0.01) -> Picture:
    return plots.forest(rows, margin=margin, title="tricks", caption="100 test images")


def test_the_forest_has_a_row_per_comparison_below_what_it_is_against() -> None:
    [axes] = forest().figure.axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["against norm_inputs", "lr_schedule", "weight_decay", "init", "against init", "dropout"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # from top to bottom
    points = {y_of(line)[0]: x_of(line)[0] for line in axes.lines if len(x_of(line)) == 1}
    assert points == {1: pytest.approx(1.6), 2: pytest.approx(0.1), 3: pytest.approx(0.04), 5: pytest.approx(-3)}
    spans = {y_of(line)[0]: x_of(line) for line in axes.lines if len(x_of(line)) == 2 and x_of(line)[0] < x_of(line)[1]}
    assert {row: spans[row] for row in points} == {
        1: pytest.approx([0.9, 2.3]),
        2: pytest.approx([-0.5, 0.7]),
        3: pytest.approx([-1.2, 1.28]),
        5: pytest.approx([-4, -2]),
    }
    assert texts(axes) == [
        *("+1.6 (+0.9 to +2.3)", "helps", "+0.1 (−0.5 to +0.7)", "no difference that matters"),
        *("+0.0 (−1.2 to +1.3)", "no difference shown", "−3.0 (−4.0 to −2.0)", "hurts"),
    ]


def test_the_forest_shades_the_margin_and_marks_zero() -> None:
    [axes] = forest(margin=0.02).figure.axes
    [band] = axes.patches
    assert band.get_window_extent().transformed(axes.transData.inverted()).x0 == pytest.approx(-2)
    assert band.get_window_extent().transformed(axes.transData.inverted()).x1 == pytest.approx(2)
    assert [x_of(line) for line in axes.lines if len(set(x_of(line))) == 1 and len(x_of(line)) == 2] == [[0, 0]]
    assert "Shaded: within ±2 percentage points" in forest(margin=0.02).figure.get_supxlabel()


def test_verdicts_differ_in_color_and_in_shape() -> None:
    [axes] = forest().figure.axes
    markers = [line for line in axes.lines if len(x_of(line)) == 1]
    assert [line.get_marker() for line in markers] == [">", "s", "o", "<"]
    assert len({line.get_color() for line in markers}) == 4
    filled = [line.get_markerfacecolor() != "white" for line in markers]
    assert filled == [True, True, False, True]
    for i, line in enumerate(markers):
        assert {text.get_color() for text in axes.texts[2 * i : 2 * i + 2]} == {line.get_color()}


def test_verdicts_are_those_of_the_effects_and_readable() -> None:
    assert list(plots.VERDICTS) == list(get_args(Verdict))
    for color, _ in plots.VERDICTS.values():
        assert contrast(color) >= 4.5


def test_the_forest_says_what_the_intervals_cover() -> None:
    assert "over test images and seeds." in forest().figure.get_supxlabel()
    assert "one seed" not in forest().figure.get_supxlabel()
    for single, against, words in (
        ([1, 1, 1, 1], 1, "intervals over test images, for these models only: one seed per run"),
        ([6, 1, 6, 6], 6, "over test images and seeds, not over those of runs with a single seed"),
        ([6, 6, 6, 6], 1, "over test images and seeds, not over those of runs with a single seed"),
    ):
        note = forest(EFFECTS.assign(seeds=single, seeds_against=against)).figure.get_supxlabel()
        assert words in " ".join(note.split())


def some_pairs(runs: list[str]) -> DataFrame:
    """Return pairs as stage `compare` writes them: the later run against the earlier one."""
    rows = [
        [run, against, 0.01 * (j - i) * (-1) ** j, 0.2 if (i + j) % 3 == 0 else 0.001]
        for (i, against), (j, run) in combinations(enumerate(runs), 2)
    ]
    return DataFrame(rows, columns=["run", "against", "effect", "p_holm"])


def pairs(runs: list[str], rows: DataFrame | None = None) -> Picture:
    found = some_pairs(runs) if rows is None else rows
    return plots.pairs(found, runs, title="tricks", caption="100 test images")


def test_pairs_are_row_minus_column() -> None:
    axes = pairs(["a", "b", "c"]).figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    numbers = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    lower = {(1, 0): "−1.0", (2, 0): "+2.0", (2, 1): "+1.0"}
    upper = {(0, 1): "+1.0", (0, 2): "−2.0", (1, 2): "−1.0"}
    assert numbers == lower | upper
    assert "row minus column" in pairs(["a", "b", "c"]).figure.get_supxlabel()


def test_the_order_of_the_two_runs_of_a_pair_does_not_matter() -> None:
    runs = ["a", "b", "c"]
    rows = some_pairs(runs)
    swapped = rows.assign(run=rows["against"], against=rows["run"], effect=-rows["effect"])
    assert pairs(runs, swapped).png() == pairs(runs).png()


def test_pairs_without_a_significant_difference_are_hatched_and_gray() -> None:
    axes = pairs(["a", "b", "c"]).figure.axes[0]  # b and c differ by chance
    hatched = {(patch.get_y() + 0.5, patch.get_x() + 0.5) for patch in axes.patches if patch.get_hatch()}  # type: ignore[attr-defined]
    assert hatched == {(1, 2), (2, 1)}
    for text in axes.texts:
        column, row = text.get_position()
        assert (text.get_color() == "#666666") == ((row, column) in hatched)
    assert axes.images[0].cmap(0.0)[0] > axes.images[0].cmap(0.0)[2]  # negative is red
    low, high = axes.images[0].get_clim()
    assert low == -high < -2


def test_p_values_of_exactly_the_level_are_not_significant() -> None:
    for p_value, count in ((0.05, 2), (0.0499, 0)):
        rows = DataFrame([["b", "a", 0.01, p_value]], columns=["run", "against", "effect", "p_holm"])
        assert sum(bool(patch.get_hatch()) for patch in pairs(["a", "b"], rows).figure.axes[0].patches) == count


def test_runs_that_do_not_differ_at_all_are_drawn() -> None:
    rows = some_pairs(["a", "b"]).assign(effect=0.0, p_holm=1.0)
    assert texts(pairs(["a", "b"], rows).figure.axes[0]) == ["+0.0", "+0.0"]


def test_numbers_on_colors_are_readable() -> None:
    for share in np.linspace(0, 1, 101):
        color = matplotlib.colormaps["RdBu"](share)
        assert contrast(plots._ink(color), color[:3]) >= 4.4


def some_reliability(runs: Iterable[str], replicas: int = 2) -> DataFrame:
    rows = [
        [run, replica, bin_, 10, 0.35 + bin_ / 10, 0.3 + bin_ / 10 + replica / 50]
        for run in runs
        for replica in range(replicas)
        for bin_ in range(5)
    ]
    return DataFrame(rows, columns=["run", "replica", "bin", "images", "confidence", "accuracy"])


def reliability(runs: Iterable[str], replicas: int = 2) -> Picture:
    return plots.reliability(some_reliability(runs, replicas), title="tricks", caption="100 test images")


def test_reliability_has_a_panel_per_run_with_its_error() -> None:
    picture = reliability(["plain", "better"])
    panels = [axes for axes in picture.figure.axes if axes.get_visible()]
    # Gaps: 0.05 for the first replica and 0.03 for the second one.
    assert [axes.get_title(loc="left") for axes in panels] == ["plain\nECE 0.040", "better\nECE 0.040"]
    for axes in panels:
        diagonal, first, second, mean = axes.lines
        assert x_of(diagonal) == y_of(diagonal) == [0, 1]
        assert x_of(first) == x_of(second) == pytest.approx([0.35, 0.45, 0.55, 0.65, 0.75])
        assert y_of(second) == pytest.approx([0.32, 0.42, 0.52, 0.62, 0.72])
        assert y_of(mean) == pytest.approx([0.31, 0.41, 0.51, 0.61, 0.71])
        assert mean.get_linewidth() > 2 * first.get_linewidth()
        assert axes.get_xlim() == axes.get_ylim() == (0, 1)
    assert panels[0].lines[-1].get_color() == plots.PALETTE[0]
    assert panels[1].lines[-1].get_color() == plots.PALETTE[1]


def test_the_error_of_a_panel_is_weighted_by_images() -> None:
    rows = some_reliability(["plain"], replicas=1).iloc[:2].assign(images=[10, 30], accuracy=[0.35, 0.05])
    picture = plots.reliability(rows, title="", caption="")
    assert picture.figure.axes[0].get_title(loc="left") == "plain\nECE 0.300"


def test_reliability_of_one_replica_is_one_line() -> None:
    picture = reliability(["plain"], replicas=1)
    assert len(picture.figure.axes[0].lines) == 2
    assert "replicas" not in picture.figure.get_supxlabel()
    assert "replicas" in reliability(["plain"]).figure.get_supxlabel()


CAPTION = "10,000 test images; 6 replicas per run; 10 epochs of all training images; float32; trained on CPU (AVX512), 1 thread"


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 20])
@pytest.mark.parametrize("prefix", ["r", "teacher_student_with_consistency_"])
def test_no_text_overlaps_or_is_cut_off(prefix: str, count: int) -> None:
    runs = [f"{prefix}{i}" for i in range(count)]
    drawn = {"title": "objectives: differences of test accuracy", "caption": CAPTION}
    compared = EFFECTS.loc[[i % 4 for i in range(count - 1)]].reset_index(drop=True)
    compared = compared.assign(run=runs[1:], against=[runs[i // 3] for i in range(count - 1)])
    values = [0.72 + i / 1000 for i in range(6)]
    pictures = [
        plots.forest(compared, margin=0.01, **drawn),
        plots.pairs(some_pairs(runs), runs, **drawn),
        plots.reliability(some_reliability(runs), **drawn),
        plots.bars(dict.fromkeys(runs, values), dict.fromkeys(runs, (0.7, 0.74)), score="micro-F1", **drawn),
    ]
    for picture in pictures:
        picture.png()
        assert cut_off(picture.figure) == []
        assert overlapping(picture.figure) == []


def test_curves_draw_the_mean_of_the_replicas() -> None:
    accuracy = plots.curves(some_histories(["plain"], replicas=2), title="tricks", caption="").figure.axes[0]
    assert y_of(accuracy.lines[0]) == pytest.approx([0.495, 0.595, 0.7 - 0.2 / 3 - 0.005])
    assert len(accuracy.collections) == 1
    assert texts(accuracy) == ["plain  0.628"]


def test_logs_have_a_panel_for_each_unit() -> None:
    fractions, losses, entropy = some_logs().figure.axes
    assert [axes.get_title(loc="left") for axes in (fractions, losses, entropy)] == [
        "plain: fractions",
        "training losses (nats)",
        "entropy (nats)",
    ]
    assert labels(fractions) == ["test accuracy", "reward", "baseline"]
    assert labels(losses) == ["train loss", "baseline loss"]
    assert labels(entropy) == ["entropy"]
    assert y_of(fractions.lines[1]) == pytest.approx([0.3, 0.15, 0.1])
    for axes in (fractions, losses, entropy):
        assert legend(axes) == labels(axes)
        assert len({line.get_color() for line in axes.lines}) == len(axes.lines)


def test_logs_without_entropy_have_no_panel_for_it() -> None:
    fractions, losses = some_logs(["teacher_agreement", "label_agreement"]).figure.axes
    assert labels(fractions) == ["test accuracy", "teacher agreement", "label agreement"]
    assert labels(losses) == ["train loss"]


def test_logs_of_replicas_are_their_mean_in_a_band() -> None:
    picture = some_logs(replicas=3)
    for axes in picture.figure.axes:
        assert len(axes.collections) == len(axes.lines)
    assert y_of(picture.figure.axes[0].lines[1]) == pytest.approx([0.4, 0.25, 0.2])
    band = picture.figure.axes[0].collections[1].get_datalim(picture.figure.axes[0].transData)
    assert (band.y0, band.y1) == (pytest.approx(0.1), pytest.approx(0.5))
    assert "bands: lowest to highest" in " ".join(picture.figure.get_supxlabel().split())

    alone = some_logs()
    assert not any(axes.collections for axes in alone.figure.axes)
    assert alone.figure.get_supxlabel() == "100 test images."


@pytest.mark.parametrize("epochs", [1, 2])
def test_logs_of_few_epochs_are_dots(epochs: int) -> None:
    picture = some_logs(epochs=epochs)
    picture.png()
    assert {line.get_marker() for axes in picture.figure.axes for line in axes.lines} == {"."}


def some_watched(validated: bool = True, layered: bool = True, replicas: int = 1, epochs: int = 3) -> Picture:
    history = some_histories(["plain"], replicas, epochs)
    if validated:
        for what in ("accuracy", "loss"):
            history[f"train_{what}"] = 0.5 + history["epoch"] / 10
            history[f"validation_{what}"] = 0.4 + history["epoch"] / 20 + history["replica"] / 50
    if layered:
        for layer in ("conv1", "head"):
            history[f"gradient_norm.{layer}"] = 1 / history["epoch"]
            history[f"update_ratio.{layer}"] = 1e-3 / history["epoch"]
    return plots.dashboard(history.drop(columns="run"), title="plain", caption="100 test images")


def test_the_dashboard_shades_the_gap_between_training_and_validation() -> None:
    accuracy, loss, norms, ratios = some_watched(replicas=2).figure.axes
    assert accuracy.get_title(loc="left") == "plain: accuracy, gap shaded"
    assert labels(accuracy) == labels(loss) == ["training", "validation"]
    assert y_of(accuracy.lines[1]) == pytest.approx([0.46, 0.51, 0.56])
    shaded = accuracy.collections[0].get_datalim(accuracy.transData)
    assert (shaded.y0, shaded.y1) == (pytest.approx(0.46), pytest.approx(0.8))
    assert norms.get_yscale() == ratios.get_yscale() == "log"
    assert labels(norms) == labels(ratios) == ["conv1", "head"]


def test_the_dashboard_shows_what_there_is() -> None:
    assert len(some_watched(layered=False).figure.axes) == 2
    alone = some_watched(validated=False)
    assert [axes.get_title(loc="left") for axes in alone.figure.axes] == [
        "plain: norm of the gradient",
        "‖update‖ / ‖weights‖",
    ]
    assert "Training:" not in alone.figure.get_supxlabel()


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_dashboard_of_few_epochs_has_dots(epochs: int) -> None:
    picture = some_watched(epochs=epochs)
    picture.png()
    assert {line.get_marker() for axes in picture.figure.axes for line in axes.lines} == {"."}


def test_the_dashboard_of_layers_that_do_not_change() -> None:
    history = DataFrame({"replica": 0, "epoch": [1, 2], "gradient_norm.head": 0.0, "update_ratio.head": 0.0})
    plots.dashboard(history, title="plain", caption="").png()


@pytest.mark.parametrize(
    ("column", "drawn"), [("validation_loss", True), ("gradient_norm.head", True), ("test_loss", False)]
)
def test_a_run_has_a_dashboard_if_it_has_validation_images_or_statistics(column: str, drawn: bool) -> None:
    assert plots.has_dashboard(DataFrame({"epoch": [1], column: [0.5]})) is drawn


def some_layers(gradient: float = 1e-3) -> DataFrame:
    rows = {"mean": [0.1, -0.2], "std": [0.5, 1.5], "never_positive": [0.0, 0.25], "gradient_std": [gradient, 0.0]}
    return DataFrame({"layer": ["conv1", "head"], **rows})


def layers(**kwargs: float) -> Picture:
    return plots.layers(some_layers(**kwargs), title="plain", caption="250 images")


def test_layers_go_from_the_first_at_the_top_to_the_last() -> None:
    picture = layers()
    outputs, dead, gradients = picture.figure.axes
    assert [label.get_text() for label in outputs.get_yticklabels()] == ["conv1", "head"]
    assert outputs.yaxis_inverted()
    assert x_of(outputs.lines[0]) == pytest.approx([0.1, -0.2])
    [spread] = [lines for lines in outputs.collections if isinstance(lines, LineCollection)]
    spans = [np.asarray(segment)[:, 0].tolist() for segment in spread.get_segments()]
    assert spans == [pytest.approx([-0.4, 0.6]), pytest.approx([-1.7, 1.3])]
    assert widths(dead) == [0.0, 0.25]
    assert x_of(gradients.lines[0]) == pytest.approx([1e-3, 0])
    assert gradients.get_xscale() == "log"
    assert [axes.get_title(loc="left") for axes in picture.figure.axes] == [
        "plain: outputs, mean ± std",
        "units never positive",
        "gradient of the weights, std",
    ]
    assert picture.figure.get_supxlabel() == "250 images."


def test_layers_without_any_gradient_are_drawn() -> None:
    picture = layers(gradient=0.0)
    assert picture.figure.axes[2].get_xscale() == "linear"
    picture.png()


@pytest.mark.slow
def test_a_long_caption_fits_below_every_picture() -> None:
    caption = (
        "10,000 test images; 1 to 3 replicas a run; 10 to 15 epochs of all or 500 to 5,000 training images; "
        "float32 or bfloat16; trained on NVIDIA H100 80GB HBM3"
    )
    history = some_histories(["plain"], replicas=2).assign(reward=0.5)
    pictures = [
        plots.bars(SCORES, INTERVALS, score="micro-F1", title="tricks", caption=caption),
        plots.curves(history, title="tricks", caption=caption),
        plots.logs(history, ["reward"], title="plain", caption=caption),
        plots.forest(EFFECTS, margin=0.01, title="tricks", caption=caption),
        plots.pairs(some_pairs(["a", "b"]), ["a", "b"], title="tricks", caption=caption),
        plots.reliability(some_reliability(["a"]), title="tricks", caption=caption),
    ]
    for picture in pictures:
        picture.png()
        note: Any = vars(picture.figure)["_supxlabel"]
        assert " ".join(note.get_text().split()).startswith(caption)
        box, page = note.get_window_extent(), picture.figure.bbox
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0


def test_a_run_has_one_color_in_every_picture() -> None:
    whole = bars().figure.axes[0]
    panels = plots.curves(some_histories(SCORES), title="tricks", caption="").figure.axes
    for i, (color, _) in enumerate(plots.colors(list(SCORES)).values()):
        assert matplotlib.colors.to_hex(whole.patches[i].get_facecolor()) == color
        assert {axes.lines[i].get_color() for axes in panels} == {color}


def test_many_runs_stay_apart() -> None:
    names = [f"run_{i}" for i in range(30)]
    assert len(set(plots.colors(names).values())) == 30
    plots.curves(some_histories(names), title="many", caption="").png()


@pytest.mark.parametrize("epochs", [1, 2])
def test_curves_of_few_epochs(epochs: int) -> None:
    plots.curves(some_histories(SCORES, epochs=epochs), title="tricks", caption="").png()


def test_curves_of_a_run_that_diverged() -> None:
    histories = some_histories(SCORES)
    histories.loc[histories["run"] == "plain", ["test_loss", "train_loss", "test_accuracy"]] = np.nan
    picture = plots.curves(histories, title="tricks", caption="")
    picture.png()
    assert texts(picture.figure.axes[0]) == ["better  0.633"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).map(sorted))
def test_names_at_the_ends_of_lines_keep_their_distance_and_order(values: list[float]) -> None:
    places = plots._spread(values, 0.05, 0, 1)
    assert len(places) == len(values)
    assert (np.diff(places) >= 0.05 - 1e-9).all()
    assert min(places) >= -1e-9
    assert max(places) <= 1 + 1e-9
    if all(np.diff(values) > 0.05 + 1e-9) and values[0] == 0 and values[-1] == 1:
        assert places == pytest.approx(values)


@pytest.mark.slow
def test_same_numbers_same_bytes_whatever_the_users_settings(tmp_path: Path) -> None:
    def draw(name: str) -> None:
        bars().save(tmp_path / name / "bars.png")
        plots.curves(some_histories(SCORES, replicas=2), title="tricks", caption="").save(
            tmp_path / name / "curves.png"
        )
        confusion(some_counts()).save(tmp_path / name / "confusion.png")
        layers().save(tmp_path / name / "layers.png")
        some_logs(replicas=2).save(tmp_path / name / "logs.png")
        some_watched(replicas=2).save(tmp_path / name / "dashboard.png")
        forest().save(tmp_path / name / "effects.png")
        pairs(["a", "b", "c"]).save(tmp_path / name / "pairs.png")
        reliability(["a", "b"]).save(tmp_path / name / "reliability.png")

    draw("one")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "savefig.dpi": 50}):
        draw("two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
        with Image.open(file) as image:
            assert "Software" not in image.info


def test_a_failed_save_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bars.png"
    path.write_text("old")
    picture = bars()
    monkeypatch.setattr(picture.figure, "savefig", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        picture.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def template(name: str) -> Any:
    return json.loads((TEMPLATES / f"{name}.json").read_text())


def found(part: Any, key: str) -> Iterator[Any]:
    """Yield the values of a key, wherever it is in a template."""
    if isinstance(part, list):
        for each in part:
            yield from found(each, key)
    elif isinstance(part, dict):
        if key in part:
            yield part[key]
        for each in part.values():
            yield from found(each, key)


def columns(name: str) -> set[str]:
    """Return the columns of a file that a template reads, besides those that its entry in dvc.yaml names."""
    content = template(name)
    read = {field for field in found(content, "field") if isinstance(field, str)}
    read.update(*re.findall(r"datum\.(\w+)|datum\['(\w+)'\]", json.dumps(content)))
    computed = {name for names in found(content, "as") for name in ([names] if isinstance(names, str) else names)}
    inline = {name for rows in found(content, "values") if isinstance(rows, list) for row in rows for name in row}
    return {column for column in read - computed - inline - {"", "rev"} if "<DVC" not in column}


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("scores", "f1_micro", "run"),
        ("runs", "epoch", "test_accuracy"),
        ("logs", "epoch", "value"),
        ("learning", "epoch", "train_loss"),
        ("confusion_counts", "predicted", "actual"),
        ("effects", "effect", "comparison"),
        ("reliability", "confidence", "accuracy"),
    ],
)
def test_dvc_fills_the_template(name: str, x: str, y: str) -> None:
    from dvc_render.vega import VegaRenderer  # type: ignore[import-untyped]

    row = {x: "1", y: "2", "rev": "workspace"}
    properties = {"template": name, "template_dir": str(TEMPLATES), "x": x, "y": y, "title": "title"}
    filled = VegaRenderer([row], "file.csv", **properties).get_filled_template()
    assert "<DVC_METRIC" not in json.dumps(filled)
    assert filled["data"]["values"] == [row]
    assert filled["title"]["text"] == "title"
    assert "rev" in found(filled, "field")  # of which commit


def test_there_is_no_template_that_is_not_tested() -> None:
    names = {path.stem for path in TEMPLATES.glob("*.json")}
    assert names == {"scores", "runs", "logs", "learning", "confusion_counts", "effects", "reliability"}


WRITTEN = {
    "plots/confusion": ["actual", "predicted", "count"],
    "plots/curves": comparison.CURVES,
    "plots/effects": list(effects.plotted([]).columns),
    "plots/f1": ["run", "f1_micro", "accuracy_low", "accuracy_high"],
    "plots/logs": comparison.LOGS,
    "plots/reliability": ["replica", "bin", "images", "confidence", "accuracy"],
}


@pytest.mark.parametrize(
    ("directory", "read"),
    [
        ("plots/confusion", {"count"}),
        ("plots/curves", {"run", "replica", "test_accuracy", "test_loss", "train_loss"}),
        ("plots/effects", {"low", "high", "verdict"}),
        ("plots/f1", {"accuracy_low", "accuracy_high"}),
        ("plots/logs", {"run", "replica", "log"}),
        ("plots/reliability", {"replica", "images"}),
    ],
)
def test_dvc_draws_columns_that_are_written(directory: str, read: set[str]) -> None:
    entries: dict[str, Any] = {}
    for entry in YAML(typ="safe", pure=True).load(TEMPLATES.parents[1] / "dvc.yaml")["plots"]:
        entries |= entry
    assert entries.keys() == WRITTEN.keys()
    assert columns(entries[directory]["template"]) == read
    assert read | {entries[directory]["x"], entries[directory]["y"]} <= set(WRITTEN[directory])


def test_dvc_draws_differences_as_the_pictures_do() -> None:
    effect = template("effects")
    computed = {step["as"]: step["calculate"] for step in effect["transform"]}
    assert computed == {
        "x_value": "toNumber(datum['<DVC_METRIC_X>'])",
        "from": "toNumber(datum.low)",
        "to": "toNumber(datum.high)",
    }
    zero, interval, _ = effect["layer"]
    assert zero["encoding"]["x"] == {"datum": 0}
    assert (interval["encoding"]["x"]["field"], interval["encoding"]["x2"]["field"]) == ("from", "to")
    [shape] = found(effect, "shape")
    assert shape["scale"]["domain"] == list(plots.VERDICTS)
    shapes = dict(zip(plots.VERDICTS, shape["scale"]["range"], strict=True))
    markers = {verdict: marker for verdict, (_, marker) in plots.VERDICTS.items()}
    for one, other in combinations(plots.VERDICTS, 2):
        assert (shapes[one] == shapes[other]) == (markers[one] == markers[other])


def test_dvc_draws_reliability_beside_the_diagonal_with_one_line_per_replica() -> None:
    content = template("reliability")
    assert {step["as"]: step["calculate"] for step in content["transform"]} == {
        "x_value": "toNumber(datum['<DVC_METRIC_X>'])",
        "y_value": "toNumber(datum['<DVC_METRIC_Y>'])",
    }
    diagonal, bins = content["layer"]
    assert diagonal["data"]["values"] == [{"p": 0}, {"p": 1}]
    assert {axis["field"] for axis in diagonal["encoding"].values()} == {"p"}
    encoding = bins["encoding"]
    assert (encoding["x"]["field"], encoding["y"]["field"]) == ("x_value", "y_value")
    assert encoding["x"]["scale"] == encoding["y"]["scale"] == {"domain": [0, 1]}
    assert encoding["detail"] == {"field": "replica"}


def test_dvc_draws_the_images_that_a_history_has() -> None:
    folded = {name for panel in template("learning")["hconcat"] for name in panel["transform"][0]["fold"]}
    columns = [f"{images}_{what}" for images in ("train", "validation", "test") for what in ("accuracy", "loss")]
    assert folded == set(columns)
    rows: list[Row] = []
    train(run_config(epochs=1, validation=0.25), data(), on_epoch=rows.append)
    assert folded <= set(rows[0])


def test_dvc_draws_runs_in_the_same_colors() -> None:
    specs = [panel["spec"] for panel in template("runs")["hconcat"]] + [template("logs")["spec"]]
    assert len(specs) == 4
    for spec in specs:
        assert spec["encoding"]["color"]["scale"]["range"] == plots.PALETTE
