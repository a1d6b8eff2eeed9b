import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from pandas import DataFrame
from PIL import Image

from drawn import labels, legend, texts, widths, x_of, y_of
from small import data, run_config
from trainlab.evaluation import comparison, plots
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


def test_bars_show_replicas_and_say_what_the_interval_covers() -> None:
    picture = bars()
    drawn = [x_of(line) for line in picture.figure.axes[1].lines if len(x_of(line)) > 2]
    assert drawn == [[0.72, 0.73, 0.75]]
    note = picture.figure.get_supxlabel()
    assert "100 test images" in note
    assert "Wilson), not for the seed" in note
    alone = plots.bars({"plain": [0.5]}, {"plain": (0.4, 0.6)}, score="micro-F1", title="", caption="")
    assert "One seed per run" in alone.figure.get_supxlabel()


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
@settings(max_examples=200, deadline=None)
def test_names_at_the_ends_of_lines_keep_their_distance_and_order(values: list[float]) -> None:
    places = plots._spread(values, 0.05, 0, 1)
    assert len(places) == len(values)
    assert (np.diff(places) >= 0.05 - 1e-9).all()
    assert min(places) >= -1e-9
    assert max(places) <= 1 + 1e-9
    if all(np.diff(values) > 0.05 + 1e-9) and values[0] == 0 and values[-1] == 1:
        assert places == pytest.approx(values)


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


def fields(value: Any) -> set[str]:
    """Return the columns that a template reads, beside those that its entry in dvc.yaml names and those it computes."""
    if isinstance(value, list):
        return set().union(*map(fields, value))
    if not isinstance(value, dict):
        return set()
    own = {value["field"]} if isinstance(value.get("field"), str) else set()
    return own.union(*map(fields, value.values()))


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("scores", "f1_micro", "run"),
        ("runs", "epoch", "test_accuracy"),
        ("logs", "epoch", "value"),
        ("learning", "epoch", "train_loss"),
        ("confusion_counts", "predicted", "actual"),
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


def test_there_is_no_template_that_is_not_tested() -> None:
    names = {path.stem for path in TEMPLATES.glob("*.json")}
    assert names == {"scores", "runs", "logs", "learning", "confusion_counts"}


def test_templates_read_the_columns_that_compare_writes() -> None:
    computed = {"rev", "x_value", "y_value"}
    named = {name for name in fields(template("runs")) - computed if "<DVC" not in name}
    drawn = [panel["spec"]["transform"][1]["calculate"] for panel in template("runs")["hconcat"]]
    assert named == {"run", "replica"}
    assert drawn == [f"toNumber(datum['{name}'])" for name in ("test_accuracy", "test_loss", "train_loss")]
    assert {*named, "test_accuracy", "test_loss", "train_loss"} <= set(comparison.CURVES)
    of_logs = {name for name in fields(template("logs")) - computed if "<DVC" not in name}
    assert of_logs == {"run", "replica", "log"} <= set(comparison.LOGS)
    assert "datum.accuracy_low" in json.dumps(template("scores"))
    assert "datum.accuracy_high" in json.dumps(template("scores"))


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
