import torch
import torch.nn.functional as F

from trainlab.models.shallow import Shallow


def test_the_network_is_the_published_one() -> None:
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
