from collections.abc import Callable
from typing import Any

import pytest
import torch

from trainlab.optimizers import Adagrad, Adam, AdamW, RMSprop, Sgd

ADAM: dict[str, Any] = {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}
TORCHS: dict[str, Any] = {"betas": (0.8, 0.95), "eps": 1e-3, "fused": True}
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
        (Adam(name="adam", **ADAM), lambda p, lr: torch.optim.Adam(p, lr, **TORCHS)),
        (
            Adam(name="adam", **ADAM, **DECAY),
            lambda p, lr: torch.optim.Adam(p, lr, **DECAY, **TORCHS),
        ),
        (
            AdamW(name="adamw", **ADAM, **DECAY),
            lambda p, lr: torch.optim.AdamW(p, lr, **DECAY, **TORCHS),
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


def test_adamw_shrinks_weights_independently_of_the_gradient() -> None:
    weight = [torch.tensor([2.0])]
    optimizer = AdamW(name="adamw", **ADAM, weight_decay=0.5)
    optimizer.step(weight, [torch.tensor([0.0])], optimizer.start(weight), 0.1)
    assert weight[0].item() == pytest.approx(2 * (1 - 0.1 * 0.5))


def test_adams_weight_decay_is_part_of_the_gradient() -> None:
    weight = [torch.tensor([2.0])]
    optimizer = Adam(name="adam", **ADAM, weight_decay=0.5)
    optimizer.step(weight, [torch.tensor([0.0])], optimizer.start(weight), 0.1)
    assert weight[0].item() == pytest.approx(2 - 0.1, rel=1e-4)  # Adam's first step has the size of the rate


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
    optimizer = theirs(reference)  # on a CPU torch's default is one parameter at a time
    for _ in range(10):
        reference[0].grad = torch.randn(5, 3, generator=generator)
        ours.step(mine, [reference[0].grad.clone()], state, 0.1)
        optimizer.step()
    torch.testing.assert_close(mine[0], reference[0].detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_adagrad_reads_no_number_from_a_gpu(decay: float) -> None:
    """A tensor on the device ``meta`` has no values, so that reading one is an error."""
    optimizer = Adagrad(name="adagrad", eps=1e-8, weight_decay=decay)
    parameters = [torch.zeros(5, 3, device="meta"), torch.zeros(7, device="meta")]
    state = optimizer.start(parameters)
    for _ in range(2):
        optimizer.step(parameters, [torch.zeros_like(p) for p in parameters], state, 0.1)
    assert [float(count) for count in state["steps"]] == [2, 2]
