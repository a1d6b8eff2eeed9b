from typing import Any

import pytest
import torch
from torch import nn

from trainlab.models.base import Network
from trainlab.models.convnet import Convnet
from trainlab.models.three_layer import ThreeLayer

SIZES = {"name": "three_layer", "num_filters": 5, "filter_size": 7, "hidden_dim": 12}


def build(in_shape: tuple[int, int, int] = (3, 32, 32), num_outputs: int = 10, **own: Any) -> Network:
    torch.manual_seed(0)
    return ThreeLayer.model_validate(SIZES | own).build(in_shape, num_outputs)


@pytest.mark.parametrize(
    ("own", "between"),
    [
        ({}, nn.ReLU()),
        ({"activation": "relu"}, nn.ReLU()),
        ({"activation": "leaky_relu"}, nn.LeakyReLU()),
        ({"activation": "tanh"}, nn.Tanh()),
        ({"activation": "sigmoid"}, nn.Sigmoid()),
        ({"activation": "gelu"}, nn.GELU()),
    ],
)
def test_the_network_is_the_sequence_of_its_layers(own: dict[str, Any], between: nn.Module) -> None:
    net = build((3, 9, 12), **own)
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(3, 5, 7, padding="same"),
        between,
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(5 * 4 * 6, 12),
        between,
        nn.Linear(12, 10),
    )
    images = torch.randn(4, 3, 9, 12)
    torch.testing.assert_close(net(images), plain(images))  # the same seed gave the same weights
    torch.testing.assert_close(net.features(images), plain[:-1](images))
    assert torch.equal(net(images), net.head(net.features(images)))
    for either in (net, plain):
        either(images).square().sum().backward()
    for p, expected in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, expected.grad)


def test_the_number_of_parameters() -> None:
    net = build()
    expected = (3 * 49 + 1) * 5 + (5 * 16 * 16 + 1) * 12 + (12 + 1) * 10
    assert sum(p.numel() for p in net.parameters()) == expected


@pytest.mark.parametrize(
    ("key", "wrong", "says"),
    [
        ("filter_size", 4, "it must be odd"),
        ("filter_size", 0, "greater than or equal to 1"),
        ("num_filters", 0, "greater than or equal to 1"),
        ("hidden_dim", 0, "greater than or equal to 1"),
        ("activation", "swish", "leaky_relu"),
    ],
)
def test_wrong_parameters_are_an_error(key: str, wrong: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ThreeLayer.model_validate(SIZES | {key: wrong})


def test_a_filter_that_is_mostly_padding_everywhere_is_refused() -> None:
    assert build((3, 9, 12), filter_size=23)(torch.zeros(1, 3, 9, 12)).shape == (1, 10)
    with pytest.raises(ValueError, match="filter_size is 25, and for images of 9×12 pixels it must be at most 23"):
        build((3, 9, 12), filter_size=25)
    convnet = {"name": "convnet", "width": 2, "depth": 1, "hidden_dim": 0}
    with pytest.raises(ValueError, match="filter_size is 25, and for images of 9×12 pixels it must be at most 23"):
        Convnet.model_validate({**convnet, "filter_size": 25}).build((3, 9, 12), 10)
