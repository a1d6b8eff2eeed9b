from typing import Any

import numpy as np
import pytest
import torch
from pandas import DataFrame

from small import data, run_config
from trainlab.errors import UserError
from trainlab.studies.per_sample_loss import COLUMNS, Histograms, caption, edges, is_recorded, per_sample
from trainlab.training.loop import Row
from trainlab.training.replicas import train


def test_losses_are_exact_where_they_are_small() -> None:
    scores = torch.tensor([[20.0, 0.0], [0.0, 20.0], [0.0, 0.0]])
    losses = per_sample(scores, torch.tensor([0, 0, 1]))
    assert losses == pytest.approx([np.log1p(np.exp(-20)), 20 + np.log1p(np.exp(-20)), np.log(2)], rel=1e-9)


def test_bins_cover_all_losses_ten_per_decade() -> None:
    bounds = edges()
    assert len(bounds) == 63
    assert (bounds[0], bounds[-1]) == (0, np.inf)
    assert bounds[1:-1:10] == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10])


def test_histograms_contain_every_image_of_each_recorded_epoch() -> None:
    config = run_config(epochs=11)
    histograms = Histograms(config, data())
    rows: list[Row] = []
    train(config, data(), on_epoch=rows.append, on_network=histograms.add)
    table = histograms.table()
    assert list(table.columns) == COLUMNS
    assert list(dict.fromkeys(table["epoch"])) == list(range(1, 11))
    counts = table.groupby(["epoch", "split"])["count"].sum().unstack()
    assert (counts["train"] == 40).all()
    assert (counts["test"] == 12).all()
    first = table[(table["epoch"] == 1) & (table["split"] == "test")]
    assert first["low"].to_list() == edges()[:-1].tolist()
    assert first["high"].to_list() == edges()[1:].tolist()
    # The mean loss by the histogram agrees with the history's.
    inside = first[(first["low"] > 0) & np.isfinite(first["high"])]
    low, high = ((inside[end] * inside["count"]).sum() / 12 for end in ("low", "high"))
    assert low <= rows[0]["test_loss"] <= high


def test_recording_does_not_change_the_training() -> None:
    config = run_config(epochs=2, model={"dropout_dense": 0.5})
    recorded = train(config, data(), on_network=Histograms(config, data()).add)
    alone = train(config, data())
    for name, tensor in alone.weights[0].items():
        assert torch.equal(tensor, recorded.weights[0][name])


def test_recorded_epochs() -> None:
    assert [epoch for epoch in range(1, 51) if is_recorded(epoch)] == [*range(1, 11), *range(15, 51, 5)]


@pytest.mark.parametrize(
    ("own", "keys"),
    [
        ({"subset": 8}, "subset"),
        ({"validation": 0.5}, "validation"),
        ({"replicas": 2}, "replicas"),
        ({"teacher": "other"}, "teacher"),
        ({"subset": 8, "replicas": 2}, "subset and replicas"),
    ],
)
def test_a_run_that_cannot_be_recorded_is_refused(own: dict[str, Any], keys: str) -> None:
    with pytest.raises(UserError) as failure:
        Histograms(run_config().model_copy(update=own), data())
    assert str(failure.value).startswith(f"run small sets {keys}: ")
    assert str(failure.value).endswith(f"; name a run that does not set {keys.replace('and', 'or')}")


def test_the_caption_counts_the_images_of_one_epoch() -> None:
    rows = [
        {"epoch": epoch, "split": split, "count": count}
        for epoch in (1, 2)
        for split, count in (("train", 1200 if epoch == 1 else 7), ("train", 34), ("test", 56))
    ]
    assert caption(DataFrame(rows)) == (
        "−log of the label's probability for 1,234 training images and 56 test images, after the epoch."
    )
