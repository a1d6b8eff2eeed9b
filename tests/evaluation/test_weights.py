import pytest
import torch

from small import data, run_config
from trainlab.evaluation.weights import NEAR_ZERO, count_weights
from trainlab.training.replicas import train

CONVNET = {"name": "convnet", "width": 3, "depth": 2, "filter_size": 3, "hidden_dim": 4}
WEIGHTS = 3 * 3 * 9 + 3 * 3 * 9 + 4 * 75 + 4 * 4


def test_weights_exclude_biases_scales_and_running_means() -> None:
    trained = train(run_config(epochs=1, replicas=2, model={**CONVNET, "batch_norm": True}), data())
    for weights in trained.weights:
        for name in ("block1.0.weight", "block2.0.weight", "dense.weight", "head.weight"):
            weights[name] = torch.ones_like(weights[name])
    head = trained.weights[1]["head.weight"]
    head[0] = -NEAR_ZERO / 10  # 4 weights of one of two replicas
    head[1] = -1  # far from zero
    head[2] = NEAR_ZERO  # the limit is not included
    counted = count_weights(trained)
    assert counted["weights"] == WEIGHTS
    assert counted["parameters"] == WEIGHTS + 4 * 3 + 4 + 4
    assert counted["near_zero"] == pytest.approx(4 / (2 * WEIGHTS), abs=1e-6)
    assert counted["near_zero"] == round(counted["near_zero"], 6)
    assert list(counted) == ["parameters", "weights", "near_zero"]


def test_the_outputs_of_an_objective_count() -> None:
    baseline = {"name": "policy_gradient", "entropy_weight": 0.04, "baseline": True}
    plain, larger = (
        count_weights(train(run_config(epochs=1, model=CONVNET, **own), data()))
        for own in ({}, {"objective": baseline})
    )
    assert larger["weights"] == plain["weights"] + 4
    assert larger["parameters"] == plain["parameters"] + 5
