import io
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from pandas import DataFrame
from PIL import Image

from trainlab.studies import measures
from trainlab.studies import plots as study_plots
from trainlab.studies.per_sample_loss import edges

RUNS = ("fast", "slow")


def some_curves(epochs=4, end=0.6):
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


def some_networks(few=(0.4, 0.995, 1.0)):
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


def some_layers():
    rows = [
        {"run": run, "layer": layer, "std": 10.0**-n, "gradient_std": gradient}
        for run in RUNS
        for n, (layer, gradient) in enumerate([("conv", 0.0), ("head", 1e-3)])
    ]
    return DataFrame(rows), DataFrame({"run": RUNS, "accuracy": [0.1, 0.5]})


def some_histograms(epochs=(1, 2)):
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


def rates(**kwargs):
    return study_plots.rates(some_curves(**kwargs), title="study", caption="100 test images")


def loss_and_error(curves=None):
    curves = some_curves() if curves is None else curves
    return study_plots.loss_and_error(curves, measures.turns(curves), title="study", caption="100 test images")


def capacity(**kwargs):
    return study_plots.capacity(some_networks(**kwargs), title="study", caption="100 test images")


def texts(axes):
    return [text.get_text().strip() for text in axes.texts]


def test_rates_have_the_texts_axes_and_a_colour_a_run():
    losses, accuracies = rates().figure.axes
    assert losses.get_yscale() == "log"
    assert accuracies.get_ylim() == (0.40, 0.75)
    for i, run in enumerate(RUNS):
        assert losses.get_legend().get_texts()[i].get_text() == run
        assert losses.lines[i].get_color() == accuracies.lines[i].get_color()
    assert losses.lines[1].get_ydata() == pytest.approx([1.0, 0.5, 0.25, 0.125])
    assert accuracies.lines[0].get_ydata()[-1] == pytest.approx(0.55)


@pytest.mark.parametrize(("end", "limits"), [(0.3, (0.0, 0.75)), (0.9, (0.40, 0.88))])
def test_an_accuracy_beyond_the_texts_axis_is_still_seen(end, limits):
    assert rates(end=end).figure.axes[1].get_ylim() == pytest.approx(limits)


@pytest.mark.parametrize("epochs", [1, 2])
def test_few_epochs_are_dots(epochs):
    assert rates(epochs=epochs).figure.axes[0].lines[0].get_marker() == "."
    loss_and_error(some_curves(epochs)).png()


def test_the_lowest_loss_and_the_lowest_error_are_marked():
    panels = loss_and_error().figure.axes
    for losses, errors in zip(panels[:2], panels[2:], strict=True):
        assert [line.get_xdata()[0] for line in (losses.lines[1], errors.lines[1])] == [2, 4]
        assert losses.get_ylim() == panels[0].get_ylim()
        assert errors.get_ylim() == panels[2].get_ylim()


def test_capacity_marks_where_the_few_are_learned_and_where_the_many_part():
    size, each = capacity().figure.axes
    marks = {text: line.get_xdata()[0] for text, line in zip(texts(size), size.lines[3:], strict=True)}
    assert marks == {"learns the few by heart": 1000, "training and test part": 10000}
    assert [label.get_text() for label in each.get_yticklabels()] == ["w2  (100)", "w4  (1,000)", "w8  (10,000)"]
    assert size.lines[0].get_label() == "training accuracy, 200 images"
    assert size.lines[1].get_label() == "training accuracy, all images"


def test_capacity_that_is_never_enough_has_no_mark():
    assert texts(capacity(few=(0.1, 0.2, 0.3)).figure.axes[0]) == ["training and test part"]


def test_layers_go_from_first_to_last_beside_the_accuracy():
    picture = study_plots.layers(*some_layers(), title="study", caption="")
    outputs, gradients, accuracy = picture.figure.axes
    assert outputs.get_yscale() == gradients.get_yscale() == "log"
    assert outputs.lines[0].get_xdata().tolist() == [0, 1]
    assert texts(accuracy) == ["10.0%", "50.0%"]
    assert matplotlib.colors.to_hex(accuracy.patches[1].get_facecolor()) == outputs.lines[1].get_color()
    picture.png()


def test_layers_without_any_gradient_are_drawn():
    statistics, last = some_layers()
    study_plots.layers(statistics.assign(gradient_std=0.0), last, title="study", caption="").png()


def test_sparsity_has_a_bar_a_run():
    counted = DataFrame({"run": RUNS, "near_zero": [0.05, 0.9], "accuracy": [0.6, 0.5]})
    zeros, accuracy = study_plots.sparsity(counted, title="study", caption="").figure.axes
    assert [bar.get_width() for bar in zeros.patches] == [0.05, 0.9]
    assert texts(accuracy) == ["60.0%", "50.0%"]


def test_distributions_have_a_panel_an_epoch_and_tell_what_lies_beyond():
    picture = study_plots.per_sample_losses(some_histograms((1, 2, 5)), title="run", caption="")
    panels = [axes for axes in picture.figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["epoch 1", "epoch 2", "epoch 5"]
    train, _, test, _ = (patch.get_data() for patch in panels[1].patches)
    assert train.values.sum() == pytest.approx(0.7)  # the rest is below 1e-5
    assert test.values.sum() == pytest.approx(1.0)
    assert train.edges[0] == pytest.approx(1e-5)
    assert train.edges[-1] == pytest.approx(10)
    assert texts(panels[1]) == ["30%", "", "", ""]
    assert [axes.get_ylim() for axes in panels] == [(0, pytest.approx(0.77))] * 3
    picture.png()


def test_eighteen_epochs_fit():
    picture = study_plots.per_sample_losses(some_histograms(range(1, 19)), title="run", caption="100 images.")
    with Image.open(io.BytesIO(picture.png())) as image:
        assert max(image.size) < 2500


def test_the_animation_has_an_epoch_a_frame_on_one_axis():
    animation = study_plots.per_sample_animation(some_histograms(), title="run", caption="")
    with Image.open(io.BytesIO(animation.gif())) as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 2, 0)
        assert image.info["duration"] == study_plots.MILLISECONDS
        frames = []
        for frame in range(2):
            image.seek(frame)
            frames.append(np.asarray(image.convert("RGB")))
    assert frames[0].shape == frames[1].shape
    assert (frames[0] != frames[1]).any()
    assert len({picture.figure.axes[0].get_ylim() for picture in animation.pictures}) == 1


def test_same_numbers_same_bytes_whatever_the_users_settings(tmp_path):
    def draw(name):
        pictures = {"rates.png": rates(), "turns.png": loss_and_error(), "capacity.png": capacity()}
        pictures["layers.png"] = study_plots.layers(*some_layers(), title="study", caption="")
        pictures["losses.png"] = study_plots.per_sample_losses(some_histograms(), title="run", caption="")
        pictures["losses.gif"] = study_plots.per_sample_animation(some_histograms(), title="run", caption="")
        for file, picture in pictures.items():
            picture.save(tmp_path / name / file)

    draw("one")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "savefig.dpi": 50}):
        draw("two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
