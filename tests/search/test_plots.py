"""The plots of a search: what they show, and the same bytes from the same trials."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from pages import PROJECT
from pictures import check, with_locked_matplotlib
from search.small_search import PARAMS, changed, searched
from trainlab.search import params, plots, results
from trainlab.search.results import Results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return a search with a move, a choice, and a round with enough trials for importance, read from its files."""
    directory = tmp_path_factory.mktemp("search")
    low = {**PARAMS["space"], "lr": {"name": "log_uniform", "low": 1e-5, "high": 1e-3}}
    rounds = [PARAMS["rounds"][0], {**PARAMS["rounds"][1], "trials": plots.MIN_TRIALS, "epochs": 1}]
    return searched(directory, changed(space=low, rounds=rounds))[1]


def test_history_shows_every_trial_and_every_range(found: Results) -> None:
    figure = plots.history(found, caption="12 validation images").figure
    losses, rates, decays = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss of the last epoch", "lr", "optimizer\nweight_decay"]
    assert rates.get_yscale() == losses.get_yscale() == "log"
    trials = sum(len(sweep.trials) for sweep in found.sweeps)
    assert len([line for line in losses.lines if line.get_marker() in ("o", "x")]) == trials
    assert [text.get_text().strip() for text in losses.texts] == [
        "moved" if sweep.move else f"round {sweep.number}" for sweep in found.sweeps
    ]
    assert any(sweep.move for sweep in found.sweeps)
    assert len(rates.collections) == sum("lr" in sweep.space for sweep in found.sweeps)  # bands
    assert len(decays.collections) == sum("optimizer.weight_decay" in sweep.space for sweep in found.sweeps)


def test_slices_have_one_panel_per_parameter_and_the_scale_of_its_range(found: Results) -> None:
    figure = plots.slices(found, caption="12 validation images").figure
    shown = [axes for axes in figure.axes if axes.get_visible()]
    scales = {axes.get_xlabel(): axes.get_xscale() for axes in shown}
    assert scales == {"lr": "log", "optimizer.weight_decay": "log", "batch_size": "linear"}
    assert [label.get_text() for label in shown[2].get_xticklabels()] == ["4", "8"]
    for axes in shown:
        [star] = [line for line in axes.lines if line.get_marker() == "*"]
        assert np.asarray(star.get_ydata())[0] == found.result["validation_loss"]


def test_importance_needs_enough_trials_of_two_parameters(found: Results) -> None:
    picture = plots.importance(found, seed=0, caption="12 validation images")
    assert picture is not None
    figure = picture.figure
    last = len([sweep for sweep in found.sweeps if sweep.number == 2])
    assert len(figure.axes) == last
    shares = [bar.get_width() for bar in figure.axes[0].patches if isinstance(bar, Rectangle)]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(1)
    few = Results(found.sweeps[:1], found.result)  # it varies only one parameter
    assert plots.importance(few, seed=0, caption="") is None


@with_locked_matplotlib
def test_the_committed_pictures_are_drawn_of_the_committed_numbers(tmp_path: Path) -> None:
    search = PROJECT / "search"
    settings = params.load_resolved(search / "resolved.yaml")
    committed = results.read(settings, search)
    caption = "5,000 validation images; one seed per trial; trained on CPU (AVX512), 2 threads"
    plots.history(committed, caption=caption).save(tmp_path / "history.png")
    plots.slices(committed, caption=caption).save(tmp_path / "slices.png")
    picture = plots.importance(committed, seed=settings.seed, caption=caption)
    assert picture is not None
    picture.save(tmp_path / "importance.png")
    check(tmp_path, search / "plots", {"history.png", "slices.png", "importance.png"})


@pytest.mark.parametrize("name", ["history", "slices", "importance"])
def test_the_same_trials_give_the_same_bytes(found: Results, name: str) -> None:
    options = {"seed": 0} if name == "importance" else {}
    first, again = (getattr(plots, name)(found, caption="again", **options).png() for _ in range(2))
    assert first == again
    assert first.startswith(b"\x89PNG")
