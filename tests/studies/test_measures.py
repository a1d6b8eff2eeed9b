import json

import numpy as np
import pytest
import torch
from pandas import DataFrame

from small import data, run_config
from trainlab.errors import UserError
from trainlab.studies import measures, per_sample_loss
from trainlab.training.loop import train

CONVNET = {"name": "convnet", "width": 3, "depth": 2, "filter_size": 3, "hidden_dim": 4}


def some_curves(**runs):
    """Curves of runs: for each, its test losses and test accuracies."""
    rows = [
        {
            "run": run,
            "replica": 0,
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": 0.5 + epoch / 100,
            "test_loss": loss,
            "test_accuracy": accuracy,
        }
        for run, (losses, accuracies) in runs.items()
        for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]
    return DataFrame(rows)


def test_weights_are_counted_without_biases_scales_and_running_means():
    trained = train(run_config(epochs=1, replicas=2, model={**CONVNET, "batch_norm": True}), data())
    for weights in trained.weights:
        for name in ("block1.0.weight", "block2.0.weight", "dense.weight", "head.weight"):
            weights[name] = torch.ones_like(weights[name])
    trained.weights[1]["head.weight"][0] = 1e-4  # 4 of them, in one of two replicas
    counted = measures.count_weights(trained)
    weights = 3 * 3 * 9 + 3 * 3 * 9 + 4 * 75 + 4 * 4
    assert counted["weights"] == weights
    assert counted["parameters"] == weights + 4 * 3 + 4 + 4
    assert counted["near_zero"] == pytest.approx(4 / (2 * weights), abs=1e-6)


def test_a_missing_or_damaged_count_is_told_in_a_line(tmp_path):
    counted = {"parameters": 3, "weights": 2, "near_zero": 0.5}
    (tmp_path / "one.json").write_text(json.dumps(counted))
    assert measures.read_weights(tmp_path, ["one"]).to_dict("records") == [{"run": "one", **counted}]
    with pytest.raises(UserError, match=r"two.json is missing: run `dvc repro weights@two`"):
        measures.read_weights(tmp_path, ["one", "two"])
    (tmp_path / "two.json").write_text("{}")
    with pytest.raises(UserError, match=r"two.json is damaged: delete it, then run `dvc repro weights@two`"):
        measures.read_weights(tmp_path, ["one", "two"])


def test_turns_tell_the_loss_from_the_error():
    [turn] = measures.turns(some_curves(a=([2.0, 1.0, 1.5], [0.3, 0.5, 0.6]))).to_dict("records")
    assert (turn["loss_epoch"], turn["loss"], turn["last_loss"]) == (2, 1.0, 1.5)
    assert (turn["error_epoch"], turn["last_error"]) == (3, pytest.approx(0.4))


def test_ends_are_of_each_runs_own_last_epoch():
    last = measures.ends(some_curves(a=([2.0, 1.0], [0.3, 0.5]), b=([3.0], [0.1]))).set_index("run")
    assert last["test_loss"].to_dict() == {"a": 1.0, "b": 3.0}


def some_networks(small=0.5, large=1.0):
    """Two networks, the larger one first, each trained on 8 images and on all."""
    wide, narrow = {**CONVNET, "width": 9}, CONVNET
    configs = {
        "wide_all": run_config(model=wide),
        "wide_few": run_config(model=wide, subset=8),
        "narrow_few": run_config(model=narrow, subset=8),
        "narrow_all": run_config(model=narrow),
    }
    counted = DataFrame(
        [{"run": run, "parameters": 900 if "wide" in run else 100, "weights": 9, "near_zero": 0.0} for run in configs]
    )
    last = DataFrame(
        [
            {"run": "wide_all", "train_accuracy": 0.9, "test_accuracy": 0.7},
            {"run": "wide_few", "train_accuracy": large, "test_accuracy": 0.2},
            {"run": "narrow_few", "train_accuracy": small, "test_accuracy": 0.2},
            {"run": "narrow_all", "train_accuracy": 0.6, "test_accuracy": 0.6},
        ]
    )
    return configs, counted, last


def test_capacity_pairs_the_runs_of_a_network_and_goes_from_small_to_large():
    networks = measures.capacity(*some_networks())
    assert networks["network"].to_list() == ["w3 d2 f3 h4", "w9 d2 f3 h4"]
    assert networks["parameters"].to_list() == [100, 900]
    assert networks["receptive_field"].to_list() == [10, 10]
    assert networks[["few_train", "many_train", "many_test"]].to_numpy().tolist() == [[0.5, 0.6, 0.6], [1.0, 0.9, 0.7]]
    assert (networks["few"] == 8).all()
    assert (networks["many"] == 0).all()
    assert (measures.enough(networks), measures.parts(networks)) == (900, 900)


def test_a_network_that_nothing_is_learned_with():
    configs, counted, last = some_networks(large=0.5)
    last["train_accuracy"] = last["train_accuracy"].clip(upper=0.7)
    networks = measures.capacity(configs, counted, last)
    assert measures.enough(networks) is None
    assert measures.parts(networks) is None


def test_runs_that_are_no_pairs_are_told_in_a_line():
    configs, counted, last = some_networks()
    configs.pop("narrow_all")
    with pytest.raises(
        UserError, match=r"w3 d2 f3 h4 has 1 run \(narrow_few\).*one run with few images and one with many"
    ):
        measures.capacity(configs, counted, last)
    with pytest.raises(UserError, match="run other has the model tf_cnn, and this study varies a convnet"):
        measures.capacity({"other": run_config().model_copy(update={"run": "other"})}, counted, last)


def test_layers_at_start_are_those_of_the_check():
    configs = {"small": run_config(model={**CONVNET, "initializer": {"name": "gaussian", "std": 1e-3}})}
    rows = measures.layers_at_start(configs, data().train)
    assert rows["layer"].to_list() == ["block1.0", "block2.0", "dense", "head"]
    assert (rows["std"] < 0.02).all()
    assert rows.equals(measures.layers_at_start(configs, data().train))


def test_per_sample_losses_are_exact_where_they_are_small():
    scores = torch.tensor([[20.0, 0.0], [0.0, 20.0], [0.0, 0.0]])
    losses = per_sample_loss.per_sample(scores, torch.tensor([0, 0, 1]))
    assert losses == pytest.approx([np.log1p(np.exp(-20)), 20 + np.log1p(np.exp(-20)), np.log(2)], rel=1e-9)


def test_histograms_hold_every_image_of_each_epoch_that_is_looked_at():
    config = run_config(epochs=11)
    histograms = per_sample_loss.Histograms(config, data())
    rows = []
    train(config, data(), on_epoch=rows.append, on_network=histograms.add)
    table = histograms.table()
    assert list(dict.fromkeys(table["epoch"])) == list(range(1, 11))
    counts = table.groupby(["epoch", "split"])["count"].sum().unstack()
    assert (counts["train"] == 40).all()
    assert (counts["test"] == 12).all()
    first = table[(table["epoch"] == 1) & (table["split"] == "test")]
    assert first["low"].to_list() == [0, *first["high"].to_list()[:-1]]
    assert first["high"].iloc[-1] == np.inf
    # What the histogram says of the mean is what the history says.
    inside = first[(first["low"] > 0) & np.isfinite(first["high"])]
    low, high = ((inside[end] * inside["count"]).sum() / 12 for end in ("low", "high"))
    assert low <= rows[0]["test_loss"] <= high


def test_looking_changes_nothing():
    config = run_config(epochs=2, model={"dropout_dense": 0.5})
    watched = train(config, data(), on_network=per_sample_loss.Histograms(config, data()).add)
    alone = train(config, data())
    for name, tensor in alone.weights[0].items():
        assert torch.equal(tensor, watched.weights[0][name])


def test_epochs_that_are_looked_at():
    assert [e for e in range(1, 51) if per_sample_loss.is_looked_at(e)] == [*range(1, 11), *range(15, 51, 5)]


@pytest.mark.parametrize("own", [{"subset": 8}, {"validation": 0.5}, {"replicas": 2}])
def test_a_run_that_cannot_be_looked_at_is_refused(own):
    with pytest.raises(UserError, match=f"run small has .*{next(iter(own))}.*name a run"):
        per_sample_loss.Histograms(run_config(**own), data())


def test_histograms_are_read_back(tmp_path):
    path = tmp_path / "run.csv"
    with pytest.raises(UserError, match=r"run.csv is missing: run `dvc repro per_sample_loss`"):
        measures.read_histograms(path)
    path.write_text("epoch,split\n1,train\n")
    with pytest.raises(UserError, match="is damaged"):
        measures.read_histograms(path)
    path.write_text("epoch,split,low,high,count\n1,train,0,1e-5,1200\n1,train,10,inf,34\n1,test,0,1e-5,56\n")
    histograms = measures.read_histograms(path)
    assert histograms["high"].iloc[1] == np.inf
    assert measures.caption_of(histograms).startswith(
        "−log of the label's probability for 1,234 training images and 56 test"
    )
