import io
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.patches import StepPatch
from pandas import DataFrame
from PIL import GifImagePlugin, Image

from drawn import legend, texts, widths, x_of, y_of
from trainlab.evaluation.plots import Picture
from trainlab.studies import plots as study_plots
from trainlab.studies.learning_curves import turning_points
from trainlab.studies.per_sample_loss import edges

RUNS = ("fast", "slow")


def some_curves(epochs: int = 4, end: float = 0.6) -> DataFrame:
    rows = [
        {
            "run": run,
            "replica": 0,
            "epoch": e,
            "train_loss": 2.0 / (i + 1) ** e,
            "train_accuracy": 0.5,
            "test_loss": 1 + abs(e - 2) / 10,
            "test_accuracy": end - 0.2 / e + i / 100,
        }
        for i, run in enumerate(RUNS)
        for e in range(1, epochs + 1)
    ]
    return DataFrame(rows)


def some_networks(few: tuple[float, ...] = (0.4, 0.995, 1.0)) -> DataFrame:
    return DataFrame(
        {
            "network": ["w2", "w4", "w8"],
            "parameters": [100, 1000, 10000],
            "few": 200,
            "many": 0,
            "few_train": few,
            "many_train": [0.3, 0.5, 0.9],
            "many_test": [0.3, 0.48, 0.6],
        }
    )


def some_layers() -> tuple[DataFrame, DataFrame]:
    rows = [
        {"run": run, "layer": layer, "std": 10.0**-n, "gradient_std": gradient, "images": 250}
        for run in RUNS
        for n, (layer, gradient) in enumerate([("conv", 0.0), ("head", 1e-3)])
    ]
    return DataFrame(rows), DataFrame({"run": RUNS, "accuracy": [0.1, 0.5]})


def some_histograms(epochs: Iterable[int] = (1, 2)) -> DataFrame:
    bounds = edges()
    rows = [
        {
            "epoch": epoch,
            "split": split,
            "low": low,
            "high": high,
            "count": 30 if i == (0 if split == "train" else 40) else 70 * (i == 20 + epoch),
        }
        for epoch in epochs
        for split in ("train", "test")
        for i, (low, high) in enumerate(pairwise(bounds))
    ]
    return DataFrame(rows)


def rates(epochs: int = 4, end: float = 0.6) -> Picture:
    return study_plots.rates(some_curves(epochs, end), title="study", caption="100 test images")


def loss_and_error(epochs: int = 4) -> Picture:
    curves = some_curves(epochs)
    return study_plots.loss_and_error(curves, turning_points(curves), title="study", caption="100 test images")


def capacity(few: tuple[float, ...] = (0.4, 0.995, 1.0)) -> Picture:
    return study_plots.capacity(some_networks(few), title="study", caption="100 test images")


def test_rates_have_the_axes_of_the_source_and_one_color_per_run() -> None:
    losses, accuracies = rates().figure.axes
    assert losses.get_yscale() == "log"
    assert accuracies.get_ylim() == (0.40, 0.75)
    for i, run in enumerate(RUNS):
        assert legend(losses)[i] == run
        assert losses.lines[i].get_color() == accuracies.lines[i].get_color()
    assert y_of(losses.lines[1]) == pytest.approx([1.0, 0.5, 0.25, 0.125])
    assert y_of(accuracies.lines[0])[-1] == pytest.approx(0.55)


@pytest.mark.parametrize(("end", "limits"), [(0.3, (0.0, 0.75)), (0.9, (0.40, 0.88))])
def test_an_accuracy_beyond_these_axes_is_visible(end: float, limits: tuple[float, float]) -> None:
    assert rates(end=end).figure.axes[1].get_ylim() == pytest.approx(limits)


@pytest.mark.parametrize("epochs", [1, 2])
def test_few_epochs_are_dots(epochs: int) -> None:
    assert rates(epochs=epochs).figure.axes[0].lines[0].get_marker() == "."
    loss_and_error(epochs).png()


def test_the_lowest_loss_and_the_lowest_error_are_marked() -> None:
    panels = loss_and_error().figure.axes
    for losses, errors in zip(panels[:2], panels[2:], strict=True):
        assert [x_of(line)[0] for line in (losses.lines[1], errors.lines[1])] == [2, 4]
        assert losses.get_ylim() == panels[0].get_ylim()
        assert errors.get_ylim() == panels[2].get_ylim()


def test_capacity_marks_where_networks_memorize_and_overfit() -> None:
    size, each = capacity().figure.axes
    marks = {text: x_of(line)[0] for text, line in zip(texts(size), size.lines[3:], strict=True)}
    assert marks == {"memorizes the few": 1000, "overfits the many": 10000}
    assert [label.get_text() for label in each.get_yticklabels()] == ["w2  (100)", "w4  (1,000)", "w8  (10,000)"]
    assert size.lines[0].get_label() == "training accuracy, 200 images"
    assert size.lines[1].get_label() == "training accuracy, all images"


def test_capacity_that_is_never_enough_has_no_mark() -> None:
    assert texts(capacity(few=(0.1, 0.2, 0.3)).figure.axes[0]) == ["overfits the many"]


def test_layers_go_from_first_to_last_beside_the_accuracy() -> None:
    picture = study_plots.layers(*some_layers(), title="study", caption="")
    outputs, gradients, accuracy = picture.figure.axes
    assert outputs.get_yscale() == gradients.get_yscale() == "log"
    assert x_of(outputs.lines[0]) == [0, 1]
    assert texts(accuracy) == ["10.0%", "50.0%"]
    assert "250 training images" in " ".join(picture.figure.get_supxlabel().split())
    assert matplotlib.colors.to_hex(accuracy.patches[1].get_facecolor()) == outputs.lines[1].get_color()
    picture.png()


def test_layers_without_any_gradient_are_drawn() -> None:
    statistics, last = some_layers()
    study_plots.layers(statistics.assign(gradient_std=0.0), last, title="study", caption="").png()


def test_sparsity_has_one_bar_per_run() -> None:
    counted = DataFrame({"run": RUNS, "near_zero": [0.05, 0.9], "accuracy": [0.6, 0.5]})
    zeros, accuracy = study_plots.sparsity(counted, title="study", caption="").figure.axes
    assert widths(zeros) == [0.05, 0.9]
    assert texts(accuracy) == ["60.0%", "50.0%"]


def test_the_first_run_and_a_better_one_are_named_beside_their_arithmetic() -> None:
    runs = [
        ("close", "first", 0.71),
        ("close", "best", 0.72),
        ("tricks", "baseline", 0.7),
        ("tricks", "dropout", 0.65),
        ("tricks", "decay", 0.75),
        ("record", "record_94", 0.94),
    ]
    counted = DataFrame(
        [
            {
                "suite": suite,
                "run": run,
                "petaflop": accuracy / 10,
                "accuracy": accuracy,
                "accuracy_low": accuracy - 0.02,
                "accuracy_high": accuracy + 0.01,
            }
            for suite, run, accuracy in runs
        ]
    )
    (axes,) = study_plots.compute(counted).figure.axes
    assert texts(axes) == ["first 71.0%", "baseline 70.0%", "decay 75.0%", "record_94 94.0%"]
    assert legend(axes) == ["close", "tricks", "record"]
    assert axes.get_xscale() == "log"
    _, first, record = axes.containers
    np.testing.assert_allclose(first[0].get_xydata(), [[0.07, 0.7], [0.065, 0.65], [0.075, 0.75]])
    (bars,) = record[2]
    np.testing.assert_allclose(bars.get_segments(), [[[0.094, 0.92], [0.094, 0.95]]])


def test_distributions_have_one_panel_per_epoch_and_state_the_share_beyond_the_axis() -> None:
    picture = study_plots.per_sample_losses(some_histograms((1, 2, 5)), title="run", caption="")
    panels = [axes for axes in picture.figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["epoch 1", "epoch 2", "epoch 5"]
    train, _, test, _ = (patch.get_data()[:2] for patch in panels[1].patches if isinstance(patch, StepPatch))
    assert train[0].sum() == pytest.approx(0.7)  # the rest is below 1e-5
    assert test[0].sum() == pytest.approx(1.0)
    assert train[1][[0, -1]] == pytest.approx([1e-5, 10])
    assert texts(panels[1]) == ["30%", "", "", ""]
    for axes in panels:
        assert axes.get_ylim() == pytest.approx((0, 0.77))
    picture.png()


@pytest.mark.slow
def test_eighteen_epochs_fit() -> None:
    picture = study_plots.per_sample_losses(some_histograms(range(1, 19)), title="run", caption="100 images.")
    with Image.open(io.BytesIO(picture.png())) as image:
        assert max(image.size) < 2500


def test_the_animation_has_one_frame_per_epoch_with_the_same_axes() -> None:
    animation = study_plots.per_sample_animation(some_histograms(), title="run", caption="")
    with Image.open(io.BytesIO(animation.gif())) as image:
        assert isinstance(image, GifImagePlugin.GifImageFile)
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 2, 0)
        assert image.info["duration"] == study_plots.MILLISECONDS
        frames = []
        for frame in range(2):
            image.seek(frame)
            frames.append(np.asarray(image.convert("RGB")))
    assert frames[0].shape == frames[1].shape
    assert (frames[0] != frames[1]).any()
    assert len({picture.figure.axes[0].get_ylim() for picture in animation.pictures}) == 1


@pytest.mark.slow
def test_same_numbers_same_bytes_whatever_the_users_settings(tmp_path: Path) -> None:
    def draw(name: str) -> None:
        pictures = {"rates.png": rates(), "turns.png": loss_and_error(), "capacity.png": capacity()}
        pictures["layers.png"] = study_plots.layers(*some_layers(), title="study", caption="")
        pictures["losses.png"] = study_plots.per_sample_losses(some_histograms(), title="run", caption="")
        for file, picture in pictures.items():
            picture.save(tmp_path / name / file)
        animation = study_plots.per_sample_animation(some_histograms(), title="run", caption="")
        animation.save(tmp_path / name / "losses.gif")

    draw("one")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "savefig.dpi": 50}):
        draw("two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
