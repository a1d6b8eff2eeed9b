from collections.abc import Callable
from typing import Any

import pytest
import torch

from trainlab.optimizers import Adagrad, Adam, AdamW, RMSprop, Sgd

ADAM: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
DECAY: dict[str, Any] = {"weight_decay": 0.01}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Sgd(name="sgd"), lambda p, lr: torch.optim.SGD(p, lr, fused=True)),
        (
            Sgd(name="sgd", momentum=0.9, **DECAY),
            lambda p, lr: torch.optim.SGD(p, lr, 0.9, **DECAY, fused=True),
        ),
        (
            Sgd(name="sgd", momentum=0.9, nesterov=True),
            lambda p, lr: torch.optim.SGD(p, lr, 0.9, nesterov=True, fused=True),
        ),
        (Adam(name="adam", **ADAM), lambda p, lr: torch.optim.Adam(p, lr, fused=True)),
        (
            Adam(name="adam", **ADAM, **DECAY),
            lambda p, lr: torch.optim.Adam(p, lr, **DECAY, fused=True),
        ),
        (
            AdamW(name="adamw", **ADAM, **DECAY),
            lambda p, lr: torch.optim.AdamW(p, lr, **DECAY, fused=True),
        ),
        (Adagrad(name="adagrad", eps=1e-10), lambda p, lr: torch.optim.Adagrad(p, lr, fused=True)),
        (
            Adagrad(name="adagrad", eps=1e-6, **DECAY),
            lambda p, lr: torch.optim.Adagrad(p, lr, eps=1e-6, **DECAY, fused=True),
        ),
        (RMSprop(name="rmsprop", alpha=0.99, eps=1e-8), lambda p, lr: torch.optim.RMSprop(p, lr, foreach=True)),
        (
            RMSprop(name="rmsprop", alpha=0.9, eps=1e-6, momentum=0.9, **DECAY),
            lambda p, lr: torch.optim.RMSprop(p, lr, 0.9, 1e-6, momentum=0.9, **DECAY, foreach=True),
        ),
    ],
)
def test_steps_are_torchs_to_the_bit(ours: Any, theirs: Callable[..., torch.optim.Optimizer]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(5, 3, generator=generator), torch.randn(7, generator=generator)]
    mine = [p.clone() for p in start]
    reference = [p.clone().requires_grad_() for p in start]
    state = ours.start(mine)
    optimizer = theirs(reference, 0.1)
    for step in range(5):
        gradients = [torch.randn(p.shape, generator=generator) for p in start]
        rate = 0.1 / (step + 1)  # a schedule's
        for p, g in zip(reference, gradients, strict=True):
            p.grad = g.clone()
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        ours.step(mine, gradients, state, rate)
        for a, b in zip(mine, reference, strict=True):
            assert torch.equal(a, b.detach())


def test_adamw_shrinks_weights_apart_from_the_gradient() -> None:
    weight = [torch.tensor([2.0])]
    optimizer = AdamW(name="adamw", **ADAM, weight_decay=0.5)
    optimizer.step(weight, [torch.tensor([0.0])], optimizer.start(weight), 0.1)
    assert weight[0].item() == pytest.approx(2 * (1 - 0.1 * 0.5))


def test_adams_weight_decay_is_part_of_the_gradient() -> None:
    weight = [torch.tensor([2.0])]
    optimizer = Adam(name="adam", **ADAM, weight_decay=0.5)
    optimizer.step(weight, [torch.tensor([0.0])], optimizer.start(weight), 0.1)
    assert weight[0].item() == pytest.approx(2 - 0.1)  # Adam's first step has the size of the rate


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Adagrad(name="adagrad", eps=1e-8, **DECAY), lambda p: torch.optim.Adagrad(p, 0.1, eps=1e-8, **DECAY)),
        (
            RMSprop(name="rmsprop", alpha=0.9, eps=1e-8, momentum=0.5),
            lambda p: torch.optim.RMSprop(p, 0.1, 0.9, 1e-8, momentum=0.5),
        ),
    ],
)
def test_fast_forms_agree_with_torchs_plain_loops(ours: Any, theirs: Callable[..., torch.optim.Optimizer]) -> None:
    generator = torch.Generator().manual_seed(0)
    mine = [torch.randn(5, 3, generator=generator)]
    reference = [mine[0].clone().requires_grad_()]
    state = ours.start(mine)
    optimizer = theirs(reference)  # on a CPU, torch takes one parameter at a time unless told otherwise
    for _ in range(10):
        reference[0].grad = torch.randn(5, 3, generator=generator)
        ours.step(mine, [reference[0].grad.clone()], state, 0.1)
        optimizer.step()
    torch.testing.assert_close(mine[0], reference[0].detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [Adagrad(name="adagrad", eps=1e-8, **DECAY), RMSprop(name="rmsprop", alpha=0.9, eps=1e-8, momentum=0.5, **DECAY)],
)
def test_a_step_leaves_the_gradients_alone(optimizer: Any) -> None:
    weight, gradient = [torch.tensor([2.0])], [torch.tensor([3.0])]
    optimizer.step(weight, gradient, optimizer.start(weight), 0.1)
    assert gradient[0].item() == 3
    assert weight[0].item() < 2
