import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainlab.initializers import KaimingUniform
from trainlab.models.tf_cnn import TfCnn

CIFAR10 = (3, 32, 32)


def test_the_number_of_parameters_is_the_tutorials() -> None:
    net = TfCnn(name="tf_cnn").build(CIFAR10, 10)
    assert sum(p.numel() for p in net.parameters()) == 122_570
    assert net.head.out_features == 10


def test_the_network_is_the_tutorials() -> None:
    torch.manual_seed(0)
    net = TfCnn(name="tf_cnn").build(CIFAR10, 10).eval()
    images = torch.randn(5, *CIFAR10)
    x = images
    for name, pooled in (("conv1", True), ("conv2", True), ("conv3", False)):
        x = F.relu(net.get_submodule(name)(x))
        x = F.max_pool2d(x, 2) if pooled else x
    features = F.relu(net.get_submodule("dense")(x.flatten(1)))
    assert torch.allclose(net.features(images), features)
    assert torch.allclose(net(images), net.head(features))


def test_without_an_initializer_the_weights_are_torchs() -> None:
    torch.manual_seed(3)
    ours = TfCnn(name="tf_cnn").build(CIFAR10, 10)
    torch.manual_seed(3)
    first = nn.Conv2d(3, 32, 3)
    assert torch.equal(ours.get_parameter("conv1.weight"), first.weight)


def test_the_initializer_sets_every_layer() -> None:
    torch.manual_seed(3)
    net = TfCnn(name="tf_cnn", initializer=KaimingUniform(name="kaiming_uniform")).build(CIFAR10, 10)
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    assert len(biases) == 5
    assert not any(bias.any() for bias in biases)
    assert float(net.get_parameter("dense.weight").detach().var()) == pytest.approx(2 / 1024, rel=0.03)


@pytest.mark.parametrize(("layer", "reader"), [("conv1", "conv2"), ("conv2", "conv3"), ("conv3", "dense")])
def test_dropout_follows_each_convolution(layer: str, reader: str) -> None:
    """The outputs of one convolution are all 1: zeros in the input of the next layer were dropped."""
    net = TfCnn(name="tf_cnn", dropout_conv=0.9).build(CIFAR10, 10).to(memory_format=torch.channels_last).train()
    nn.init.zeros_(net.get_parameter(f"{layer}.weight"))
    nn.init.ones_(net.get_parameter(f"{layer}.bias"))
    inputs: list[Tensor] = []
    net.get_submodule(reader).register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    torch.manual_seed(0)
    net(torch.randn(16, *CIFAR10))
    kept = round(256 * 0.1) / 256
    pooled = layer != "conv3"  # of four outputs, one must be kept
    zeros = float((inputs[0] == 0).double().mean())
    assert zeros == pytest.approx((1 - kept) ** (4 if pooled else 1), abs=0.02)
    assert sorted(inputs[0].unique().tolist()) == pytest.approx([0, 1 / kept])


def test_dropout_follows_the_hidden_layer() -> None:
    net = TfCnn(name="tf_cnn", dropout_dense=0.75).build(CIFAR10, 10).train()
    nn.init.zeros_(net.get_parameter("dense.weight"))
    nn.init.ones_(net.get_parameter("dense.bias"))
    torch.manual_seed(0)
    features = net.features(torch.randn(100, *CIFAR10))
    assert float((features == 0).double().mean()) == pytest.approx(0.75, abs=0.03)
    assert sorted(features.unique().tolist()) == [0, 4]
