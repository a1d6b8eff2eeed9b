import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainlab.models.layers import relu_dropout_pool


def grad(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def conv_and_images(precision: torch.dtype = torch.float32) -> tuple[nn.Conv2d, Tensor]:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3).to(precision).to(memory_format=torch.channels_last)
    return conv, torch.randn(6, 3, 14, 14).to(dtype=precision, memory_format=torch.channels_last)


def gradients_of(conv: nn.Conv2d) -> list[Tensor]:
    """Return the gradients, and clear them."""
    gradients = [p.grad.clone() for p in conv.parameters() if p.grad is not None]
    conv.zero_grad()
    return gradients


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_without_dropout_it_is_relu_then_pool_to_the_bit(pool: bool, training: bool) -> None:
    conv, images = conv_and_images()
    quick = relu_dropout_pool(conv(images), pool=pool, training=training)
    quick.square().sum().backward()
    gradients = [grad(p).clone() for p in conv.parameters()]
    conv.zero_grad()
    plain = F.relu(conv(images))
    plain = F.max_pool2d(plain, 2) if pool else plain
    plain.square().sum().backward()
    assert torch.equal(quick, plain)
    for quick_gradient, p in zip(gradients, conv.parameters(), strict=True):
        assert torch.equal(quick_gradient, grad(p))


def test_evaluation_drops_nothing() -> None:
    conv, images = conv_and_images()
    assert torch.equal(
        relu_dropout_pool(conv(images), dropout=0.5, training=False), relu_dropout_pool(conv(images), training=False)
    )


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pool", [False, True])
def test_gradients_are_those_of_a_mask_with_a_backward_pass(pool: bool, precision: torch.dtype) -> None:
    """Draw the mask twice, and apply the second one in the textbook order: ReLU, dropout, pooling."""
    conv, images = conv_and_images(precision)
    dropped = conv(images)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        ones = torch.ones_like(dropped)
        relu_dropout_pool(ones, dropout=0.2, training=True)  # overwritten in place with the mask
    torch.manual_seed(1)
    quick = relu_dropout_pool(dropped, dropout=0.2, pool=pool, training=True)
    quick.float().square().sum().backward()
    gradients = [grad(p).clone() for p in conv.parameters()]
    conv.zero_grad()

    scale = 256 / round(256 * 0.8)
    plain = F.relu(conv(images)) * ones
    plain = (F.max_pool2d(plain, 2) if pool else plain) * scale
    plain.float().square().sum().backward()
    assert 0.7 < float(ones.float().mean()) < 0.9
    assert torch.equal(quick, plain)
    for quick_gradient, p in zip(gradients, conv.parameters(), strict=True):
        assert torch.equal(quick_gradient, grad(p))


@pytest.mark.parametrize("dropout", [0.0007, 0.002, 0.1, 0.2, 0.5, 0.99])
def test_every_element_is_kept_with_the_same_probability(dropout: float) -> None:
    torch.manual_seed(0)
    kept = round(256 * (1 - dropout)) / 256
    x = torch.ones(500, 8, 16, 16).to(memory_format=torch.channels_last)
    relu_dropout_pool(x, dropout=dropout, training=True)
    in_memory = x.permute(0, 2, 3, 1).reshape(-1)
    places = in_memory.view(-1, 8).mean(0)  # each of the eight bytes of a random word
    error = (kept * (1 - kept) / (len(in_memory) / 8)) ** 0.5
    assert torch.all((places - kept).abs() <= 5 * error)
    neighbours = (in_memory[1:] * in_memory[:-1]).mean()
    assert abs(float(neighbours) - kept**2) <= 5 * error


def test_the_mean_is_kept() -> None:
    torch.manual_seed(0)
    x = torch.ones(200, 8, 16, 16).to(memory_format=torch.channels_last)
    assert float(relu_dropout_pool(x, dropout=0.3, training=True).mean()) == pytest.approx(1, abs=0.005)


def test_an_odd_number_of_elements() -> None:
    torch.manual_seed(0)
    x = torch.ones(1, 3, 3, 3).to(memory_format=torch.channels_last)
    assert set(relu_dropout_pool(x, dropout=0.75, training=True).unique().tolist()) == {0.0, 4.0}
