import pytest
import torch
import torch.nn.functional as F

from trainlab.models.shallow import Shallow


def test_it_is_the_published_network() -> None:
    torch.manual_seed(0)
    net = Shallow(name="shallow").build((3, 32, 32), 10)
    assert sum(p.numel() for p in net.parameters()) == (3 * 49 + 1) * 64 + (64 * 64 + 1) * 64 + (64 * 8 * 8 + 1) * 10
    images = torch.randn(2, 3, 32, 32)
    x = F.leaky_relu(
        F.conv2d(images, net.get_parameter("conv1.weight"), net.get_parameter("conv1.bias"), padding=3), 0.01
    )
    weight, bias = net.get_parameter("conv2.weight"), net.get_parameter("conv2.bias")
    x = F.leaky_relu(F.conv2d(x, weight, bias, stride=4, padding=3), 0.01)
    assert x.shape == (2, 64, 8, 8)
    assert torch.allclose(net(images), net.head(x.flatten(1)))


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 28, 40), (4, 33, 19)])
def test_it_takes_images_of_other_sizes(shape: tuple[int, int, int]) -> None:
    assert Shallow(name="shallow").build(shape, 3)(torch.randn(2, *shape)).shape == (2, 3)


def test_too_small_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 2×2"):
        Shallow(name="shallow").build((3, 1, 32), 10)
