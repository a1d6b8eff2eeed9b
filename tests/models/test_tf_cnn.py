import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainlab.initializers import KaimingUniform
from trainlab.models.tf_cnn import TfCnn

CIFAR10 = (3, 32, 32)


def test_it_has_the_tutorials_number_of_parameters() -> None:
    net = TfCnn(name="tf_cnn").build(CIFAR10, 10)
    assert sum(p.numel() for p in net.parameters()) == 122_570
    assert net.head.out_features == 10


def test_it_computes_what_the_tutorial_says() -> None:
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


@pytest.mark.parametrize("shape", [(1, 18, 18), (3, 28, 40), (4, 33, 19)])
def test_it_takes_images_of_other_sizes(shape: tuple[int, int, int]) -> None:
    assert TfCnn(name="tf_cnn").build(shape, 3)(torch.randn(2, *shape)).shape == (2, 3)


def test_too_small_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 18×18"):
        TfCnn(name="tf_cnn").build((3, 17, 32), 10)


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


@pytest.mark.parametrize(("where", "rate"), [("dropout_conv", 0.5), ("dropout_dense", 0.5)])
def test_dropout_acts_in_training_alone(where: str, rate: float) -> None:
    net = TfCnn.model_validate({"name": "tf_cnn", where: rate}).build(CIFAR10, 10)
    images = torch.randn(4, *CIFAR10).to(memory_format=torch.channels_last)
    net.train()
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))
