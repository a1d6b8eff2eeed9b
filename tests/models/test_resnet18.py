import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision.models
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainlab.initializers import Gaussian
from trainlab.models.base import Network
from trainlab.models.resnet18 import ResNet18

CIFAR10 = (3, 32, 32)


def build(stem_stride: int = 1, in_shape: tuple[int, int, int] = CIFAR10, num_outputs: int = 10) -> Network:
    torch.manual_seed(0)
    net = ResNet18(name="resnet18", stem_stride=stem_stride).build(in_shape, num_outputs)
    for name, tensor in net.named_buffers():  # other running statistics than a new network's, which would hide them
        if name.endswith("running_mean"):
            nn.init.normal_(tensor, std=0.1)
        elif name.endswith("running_var"):
            nn.init.uniform_(tensor, 0.5, 2)
    return net


def torchvisions(net: Network, stem_stride: int, channels: int = 3, num_outputs: int = 10) -> nn.Module:
    """Return the original with its stem replaced and our weights."""
    theirs: nn.Module = torchvision.models.resnet18(num_classes=num_outputs)
    theirs.conv1 = nn.Conv2d(channels, 64, 3, stride=stem_stride, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    weights = {name.replace("head.", "fc."): tensor for name, tensor in net.state_dict().items()}
    theirs.load_state_dict(weights, strict=True)
    return theirs


def textbook(net: Network, images: Tensor, stem_stride: int) -> Tensor:
    """Return the outputs of the network in table 1 of the paper, in evaluation mode, from the weights alone."""
    w: dict[str, Tensor] = net.state_dict()

    def conv(x: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        x = F.conv2d(x, w[f"{name}.weight"], stride=stride, padding=w[f"{name}.weight"].shape[-1] // 2)
        mean, var = w[f"{norm}.running_mean"], w[f"{norm}.running_var"]
        return F.batch_norm(x, mean, var, w[f"{norm}.weight"], w[f"{norm}.bias"])

    x = F.relu(conv(images, "conv1", "bn1", stem_stride))
    for stage in range(1, 5):
        for block in range(2):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            shortcut = conv(x, f"{at}.downsample.0", f"{at}.downsample.1", stride) if stride == 2 else x
            x = F.relu(conv(x, f"{at}.conv1", f"{at}.bn1", stride))
            x = F.relu(conv(x, f"{at}.conv2", f"{at}.bn2") + shortcut)
    scores: Tensor = x.mean((2, 3)) @ w["head.weight"].T + w["head.bias"]
    return scores


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_the_network_is_torchvisions_and_the_papers(stem_stride: int) -> None:
    net = build(stem_stride).eval()
    images = torch.randn(2, *CIFAR10)
    with torch.no_grad():
        torch.testing.assert_close(net(images), torchvisions(net, stem_stride).eval()(images))
        torch.testing.assert_close(net(images), textbook(net, images, stem_stride), rtol=1e-4, atol=1e-4)
        features = net.features(images)
        assert features.shape == (2, 512)
        assert torch.equal(net(images), net.head(features))


def test_in_training_gradients_and_running_statistics_are_torchvisions() -> None:
    net = build(2, (1, 20, 20), 4).train()
    theirs = torchvisions(net, 2, channels=1, num_outputs=4).train()
    images = torch.randn(4, 1, 20, 20)
    for either in (net, theirs):
        F.cross_entropy(either(images), torch.arange(4)).backward()
    expected = {name.replace("fc.", "head."): p.grad for name, p in theirs.named_parameters()}
    assert expected.keys() == dict(net.named_parameters()).keys()
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.grad, expected[name], rtol=1e-3, atol=1e-4)
    buffers = dict(theirs.named_buffers())
    for name, tensor in net.named_buffers():
        torch.testing.assert_close(tensor, buffers[name])


def test_the_number_of_parameters() -> None:
    assert sum(p.numel() for p in build().parameters()) == 11_173_962
    seven = build(in_shape=(1, 32, 32), num_outputs=7)
    assert sum(p.numel() for p in seven.parameters()) == 11_173_962 - 2 * 9 * 64 - 3 * 513


def test_a_stride_of_two_is_a_quarter_of_the_work() -> None:
    flops = []
    for stem_stride in (1, 2):
        net = build(stem_stride).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, *CIFAR10))
        flops.append(counter.get_total_flops())
    assert flops[0] / flops[1] == pytest.approx(4, rel=0.001)


def test_the_stem_starts_like_torchvisions_other_convolutions() -> None:
    for name in ("conv1", "layer1.0.conv1"):
        weight = build().get_parameter(f"{name}.weight").detach()
        assert float(weight.std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05), name


def test_an_initializer_sets_every_convolution() -> None:
    net = ResNet18(name="resnet18", stem_stride=1, initializer=Gaussian(name="gaussian", std=0.5)).build(CIFAR10, 10)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 21
    for layer in layers:
        assert float(layer.weight.detach().std()) == pytest.approx(0.5, rel=0.1)


def test_channels_last_and_bfloat16() -> None:
    net = build(2).eval()
    images = torch.randn(4, *CIFAR10)
    with torch.no_grad():
        expected = net(images)
        net = net.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
        torch.testing.assert_close(net(images), expected, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = net(images)
    assert outputs.dtype == torch.bfloat16
    assert float((outputs.float() - expected).abs().max()) < 0.05 * float(expected.abs().max())


@pytest.mark.parametrize("wrong", [0, 3, True, 1.0])
def test_another_stride_is_an_error(wrong: object) -> None:
    with pytest.raises(ValueError, match="stem_stride"):
        ResNet18.model_validate({"name": "resnet18", "stem_stride": wrong})


@pytest.mark.slow
def test_torchvision_is_imported_only_where_a_network_is_built() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import trainlab.models.resnet18; print('torchvision' in sys.modules)"
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", script, source], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
