from typing import Any, cast

import pytest
import torch
from torch import nn

from small import run_config
from trainlab.errors import UserError
from trainlab.models.base import Network
from trainlab.models.convnet import Convnet

SIZES: dict[str, Any] = {"name": "convnet", "width": 6, "depth": 2, "filter_size": 3, "hidden_dim": 8}
AVERAGING = SIZES | {"hidden_dim": 0, "global_average": True}
MODULES = {
    None: nn.ReLU(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "gelu": nn.GELU(),
}


def build(in_shape: tuple[int, int, int] = (3, 13, 10), num_outputs: int = 7, **own: Any) -> Network:
    torch.manual_seed(0)
    return Convnet.model_validate(SIZES | own).build(in_shape, num_outputs)


def plain(
    in_shape: tuple[int, int, int] = (3, 13, 10),
    num_outputs: int = 7,
    *,
    width: int = 6,
    depth: int = 2,
    filter_size: int = 3,
    hidden_dim: int = 8,
    activation: str | None = None,
    batch_norm: bool = False,
    dropout: float = 0,
    global_average: bool = False,
) -> nn.Sequential:
    """Return what the docstring describes, layer by layer, with the same random numbers."""
    torch.manual_seed(0)
    channels, height, width_of_image = in_shape
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers.append(nn.Conv2d(channels, width, filter_size, padding="same", bias=not batch_norm))
        layers += [nn.BatchNorm2d(width)] if batch_norm else []
        layers += [MODULES[activation], nn.MaxPool2d(2)]
        channels, height, width_of_image = width, height // 2, width_of_image // 2
    if global_average:
        layers += [nn.Dropout(dropout), nn.Conv2d(width, num_outputs, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers)
    count = channels * height * width_of_image
    layers.append(nn.Flatten())
    layers += [nn.Linear(count, hidden_dim), MODULES[activation]] if hidden_dim else []
    layers += [nn.Dropout(dropout), nn.Linear(hidden_dim or count, num_outputs)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    "own",
    [
        {},
        *({"activation": name} for name in MODULES if name),
        {"hidden_dim": 0},
        {"depth": 1, "filter_size": 5},
        {"depth": 3, "width": 2, "filter_size": 1},
        {"batch_norm": True},
        {"batch_norm": True, "activation": "gelu", "hidden_dim": 0, "dropout": 0.4},
        {"dropout": 0.4},
        {"hidden_dim": 0, "global_average": True},
        {"hidden_dim": 0, "global_average": True, "batch_norm": True, "depth": 3, "activation": "tanh"},
    ],
    ids=str,
)
@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_the_sequence_of_its_layers(own: dict[str, Any], training: bool) -> None:
    net, expected = build(**own).train(training), plain(**own).train(training)
    images = torch.randn(5, 3, 13, 10)
    outputs = []
    for either in (net, expected):
        torch.manual_seed(1)  # dropout's
        outputs.append(either(images))
        outputs[-1].square().sum().backward()
    assert outputs[0].shape == (5, 7)
    torch.testing.assert_close(*outputs)
    for p, of_expected in zip(net.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p.grad, of_expected.grad, rtol=1e-4, atol=1e-4)
    for buffer, expected_buffer in zip(net.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected_buffer)


def test_with_a_global_average_there_is_no_head() -> None:
    assert not Convnet.model_validate(AVERAGING).has_head
    net, images = build(**AVERAGING), torch.randn(5, 3, 13, 10)
    assert not any(isinstance(layer, nn.Linear) for layer in net.modules())
    assert net.features(images).shape == (5, 6)


@pytest.mark.parametrize(
    ("own", "count"),
    [
        ({}, (27 + 1) * 6 + (54 + 1) * 6 + (6 * 64 + 1) * 8 + 9 * 10),
        ({"hidden_dim": 0}, (27 + 1) * 6 + (54 + 1) * 6 + (6 * 64 + 1) * 10),
        ({"batch_norm": True}, 27 * 6 + 12 + 54 * 6 + 12 + (6 * 64 + 1) * 8 + 9 * 10),
        ({"hidden_dim": 0, "global_average": True}, (27 + 1) * 6 + (54 + 1) * 6 + 7 * 10),
    ],
    ids=str,
)
def test_the_number_of_parameters(own: dict[str, Any], count: int) -> None:
    assert sum(p.numel() for p in build((3, 32, 32), 10, **own).parameters()) == count


def seen(model: Convnet, size: int) -> tuple[int, int]:
    """Return how many rows and columns of an image affect the centre unit of the last block.

    Max-pooling selects one of four pixels, so it takes many images to find all of them.
    """
    torch.manual_seed(0)
    net = model.build((1, size, size), 2).double()
    images = torch.randn(400, 1, size, size, dtype=torch.float64, requires_grad=True)
    maps: torch.Tensor = cast(Any, net).maps(images)
    centre = maps.shape[-1] // 2
    (gradient,) = torch.autograd.grad(maps[:, :, centre, centre].sum(), images)
    moved = gradient.ne(0).any(0)[0]
    rows, columns = moved.any(1).nonzero()[:, 0], moved.any(0).nonzero()[:, 0]
    assert rows[0] > 0 and columns[0] > 0 and rows[-1] < size - 1 and columns[-1] < size - 1  # noqa: PT018 (one border)
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


@pytest.mark.parametrize("filter_size", [1, 3, 5])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_receptive_field_is_the_part_that_affects_a_unit(depth: int, filter_size: int) -> None:
    own = {"depth": depth, "filter_size": filter_size, "activation": "tanh"}  # ReLU has no gradient for negative inputs
    model = Convnet.model_validate(SIZES | own)
    size = (filter_size + 2) * 2**depth  # just enough that padding has no effect
    assert seen(model, size) == (model.receptive_field, model.receptive_field)


@pytest.mark.parametrize(("depth", "filter_size", "pixels"), [(1, 3, 4), (2, 3, 10), (3, 3, 22), (2, 5, 16)])
def test_the_receptive_field_of_known_networks(depth: int, filter_size: int, pixels: int) -> None:
    model = Convnet.model_validate(SIZES | {"depth": depth, "filter_size": filter_size})
    assert model.receptive_field == pixels
    assert "receptive_field" not in model.model_dump()


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"filter_size": 4}, "model.filter_size is 4: it must be odd, so that padding can keep the size"),
        ({"global_average": True}, "model.global_average is True: it takes the place of the hidden layer, so set"),
        ({"activation": "rely"}, "model.activation is 'rely' (did you mean relu?); one of: relu, leaky_relu, tanh"),
        ({"width": 0}, "model.width is 0: it should be greater than or equal to 1"),
        ({"depth": 0}, "model.depth is 0: it should be greater than or equal to 1"),
        ({"hidden_dim": -1}, "model.hidden_dim is -1: it should be greater than or equal to 0"),
        ({"dropout": 1.0}, "model.dropout is 1.0: it should be less than 1"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(own: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        run_config(model=SIZES | own)
    assert str(caught.value).startswith(f"params.yaml: runs.small.{says}")
    assert "\n" not in str(caught.value)
