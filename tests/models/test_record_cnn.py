import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainlab.initializers import Dirac
from trainlab.models.base import Network
from trainlab.models.record_cnn import IMAGES, PATCH, RecordCnn, whitening_filters

CIFAR10 = (3, 32, 32)


def model(**own: object) -> RecordCnn:
    widths = {"widths": [64, 256, 256]}
    return RecordCnn.model_validate({"name": "record_cnn", **widths, "output_scale": 0.1, "norm_memory": 0.6, **own})


def network(**own: object) -> Network:
    torch.manual_seed(0)
    return model(**own).build(CIFAR10, 10).to(memory_format=torch.channels_last)


def pictures(count: int = 6) -> Tensor:
    """Return images whose neighbouring pixels and channels are correlated, and whose channels have a mean."""
    noise = torch.randn(count, 3, 34, 34, generator=torch.Generator().manual_seed(0))
    mixed = torch.einsum("dc,nchw->ndhw", torch.tensor([[1.0, 0.5, 0.2], [0.0, 1.0, 0.7], [0.3, 0.0, 2.0]]), noise)
    smooth = F.avg_pool2d(mixed, 3, 1) + torch.tensor([0.3, -0.2, 0.1])[:, None, None]
    return smooth.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("eps", "count"), [(0.0, 1_971_640), (5e-4, 1_971_352)])
def test_the_number_of_parameters_is_as_documented(eps: float, count: int) -> None:
    assert sum(p.numel() for p in network(whitening_eps=eps).parameters()) == count


def test_the_network_is_the_papers() -> None:
    net = network().train()
    images = pictures()

    def get(name: str) -> Tensor:
        return net.get_parameter(name).double()

    def normalized(x: Tensor, shift: Tensor) -> Tensor:
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
        return (x - mean) / (variance + 1e-5).sqrt() + shift[:, None, None]

    for name, parameter in net.named_parameters():
        if "norm" in name:
            nn.init.normal_(parameter)
    x = F.gelu(F.conv2d(images.double(), get("first.weight"), get("first.bias")))
    sizes = []
    for block in ("block1", "block2", "block3"):
        x = F.max_pool2d(F.conv2d(x, get(f"{block}.conv1.weight"), padding=1), 2)
        x = F.gelu(normalized(x, get(f"{block}.norm1.bias")))
        x = F.conv2d(x, get(f"{block}.conv2.weight"), padding=1)
        x = F.gelu(normalized(x, get(f"{block}.norm2.bias")))
        sizes.append(x.shape[2])
    assert sizes == [15, 7, 3]
    expected = x.amax((2, 3)) @ get("head.weight").T * 0.1
    torch.testing.assert_close(net(images), expected.float(), rtol=1e-3, atol=1e-4)


def test_running_statistics_keep_the_given_share() -> None:
    net = network(norm_memory=0.75, widths=[4]).train()
    images = pictures()
    pooled = F.max_pool2d(net.get_submodule("block1.conv1")(F.gelu(net.get_submodule("first")(images))), 2)
    net(images)
    torch.testing.assert_close(net.get_buffer("block1.norm1.running_mean"), 0.25 * pooled.mean((0, 2, 3)))
    variance = 0.75 + 0.25 * pooled.var((0, 2, 3))
    torch.testing.assert_close(net.get_buffer("block1.norm1.running_var"), variance)


def patches(images: Tensor) -> np.ndarray:
    """Return all 2×2 patches as rows, one loop over positions at a time."""
    array = images.double().numpy()
    places = [(y, x) for y in range(array.shape[2] - 1) for x in range(array.shape[3] - 1)]
    return np.concatenate([array[:, :, y : y + PATCH, x : x + PATCH].reshape(len(array), -1) for y, x in places])


def test_whitened_patches_have_the_identity_as_covariance() -> None:
    images = pictures(20)
    filters = whitening_filters(images, 1e-9)
    half = len(filters) // 2
    assert filters.shape == (24, 3, 2, 2)
    assert torch.equal(filters[half:], -filters[:half])
    whitened = patches(images) @ filters[:half].double().flatten(1).numpy().T
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(half), atol=2e-3)


def test_whitening_divides_by_the_root_of_variance_plus_eps() -> None:
    images, eps = pictures(20), 0.3
    variances, directions = np.linalg.eigh(np.cov(patches(images).T, bias=True))
    filters = whitening_filters(images, eps)[:12].double().flatten(1).numpy()
    expected = (directions / np.sqrt(variances + eps)).T[::-1]  # the largest variance first
    signs = np.sign((filters * expected).sum(1, keepdims=True))  # an eigenvector has either
    np.testing.assert_allclose(filters, signs * expected, atol=1e-4)


def test_the_whitening_layer_is_computed_once_and_not_trained() -> None:
    net = network(whitening_eps=5e-4)
    asked: list[int] = []

    def training_images(count: int) -> Tensor:
        asked.append(count)
        return pictures(20)

    net.start(training_images)
    assert asked == [IMAGES]
    assert torch.equal(net.state_dict()["first.weight"], whitening_filters(pictures(20), 5e-4))
    assert "first.weight" not in dict(net.named_parameters())
    assert "first.bias" in dict(net.named_parameters())


def test_without_whitening_the_first_layer_is_trained_and_no_images_are_asked_for() -> None:
    net = network()
    before = net.get_parameter("first.weight").clone()
    net.start(lambda count: pytest.fail("asked for images"))
    assert torch.equal(net.get_parameter("first.weight"), before)


def test_identity_filters_pass_their_input_on() -> None:
    net = network(initializer=Dirac(name="dirac"), widths=[32])
    x = torch.randn(2, 24, 6, 6).contiguous(memory_format=torch.channels_last)
    assert torch.equal(net.get_submodule("block1.conv1")(x)[:, :24], x)
    assert float(net.get_parameter("block1.conv1.weight")[24:].detach().std()) == pytest.approx(
        1 / math.sqrt(3 * 24 * 9), rel=0.05
    )
