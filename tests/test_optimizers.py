from collections.abc import Callable
from typing import Any

import pytest
import torch

from trainlab.optimizers import Adagrad, Adam, AdamW, Muon, RMSprop, Sgd, SgdW, orthogonalized

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


def random_tensors(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


SHAPES = [(6, 2, 3, 3), (5, 3), (7,)]  # a convolution, a linear layer, a bias


def test_sgdw_is_torchs_nesterov_after_the_decay() -> None:
    mine, reference = random_tensors(0, *SHAPES), random_tensors(0, *SHAPES)
    ours = SgdW(name="sgdw", momentum=0.85, bias_rate=64.0, weight_decay=0.01)
    groups: list[dict[str, Any]] = [{"params": reference[:2]}, {"params": reference[2:]}]
    theirs = torch.optim.SGD(groups, 1.0, momentum=0.85, nesterov=True)
    state = ours.start(mine)
    for step in range(6):
        lr, gradients = 0.1 / (step + 1), random_tensors(step + 1, *SHAPES)
        ours.step(mine, gradients, state, lr)
        for p, g in zip(reference, gradients, strict=True):
            p.mul_(1 - lr * 0.01)
            p.grad = g
        theirs.param_groups[0]["lr"], theirs.param_groups[1]["lr"] = lr, 64 * lr
        theirs.step()
        torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (1, 7), (16, 16)], ids=str)
@pytest.mark.parametrize("iterations", [1, 3, 5])
def test_newton_schulz_maps_the_singular_values(shape: tuple[int, int], iterations: int) -> None:
    matrix = random_tensors(0, shape)[0].double()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values / values.norm()
    for _ in range(iterations):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    result = orthogonalized(matrix, iterations)
    torch.testing.assert_close(result, left @ values.diag() @ right, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(orthogonalized(matrix.float(), iterations).double(), result, atol=1e-4, rtol=1e-3)


def test_five_iterations_bring_singular_values_near_1() -> None:
    values = torch.linalg.svdvals(orthogonalized(random_tensors(0, (20, 60))[0], 5))
    assert 0.65 < float(values.min()) <= float(values.max()) < 1.25
    assert not orthogonalized(torch.zeros(3, 4), 5).any()


def test_muon_steps_along_the_orthogonalized_momentum() -> None:
    mine, reference = random_tensors(0, *SHAPES), [t.double() for t in random_tensors(0, *SHAPES)]
    ours = Muon(
        name="muon", momentum=0.6, iterations=3, other_momentum=0.85, linear_rate=7.0, bias_rate=40.0, weight_decay=0.1
    )
    state = ours.start(mine)
    buffers = [torch.zeros_like(t) for t in reference]
    for step in range(6):
        lr, gradients = 0.02 / (step + 1), random_tensors(step + 1, *SHAPES)
        ours.step(mine, gradients, state, lr)
        for p, g, buffer, momentum, rate in zip(
            reference, gradients, buffers, (0.6, 0.85, 0.85), (1, 7, 40), strict=True
        ):
            p.mul_(1 - lr * 0.1)
            buffer.mul_(momentum).add_(g)
            update = g + momentum * buffer
            if p.dim() > 2:
                left, values, right = torch.linalg.svd(update.flatten(1), full_matrices=False)
                values = values / values.norm()
                for _ in range(3):
                    values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
                update = (left @ values.diag() @ right).view(p.shape)
            p.sub_(update, alpha=lr * rate)
        torch.testing.assert_close(mine, [t.float() for t in reference], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("power", [0.0, 3.0])
def test_lookahead_is_a_loop_in_words(power: float) -> None:
    lookahead = {"every": 3, "decay": 0.8, "power": power}
    ours = Sgd.model_validate({"name": "sgd", "momentum": 0.9, "lookahead": lookahead})
    plain = Sgd(name="sgd", momentum=0.9)
    mine, fast = random_tensors(0, *SHAPES), random_tensors(0, *SHAPES)
    state, theirs = ours.start(mine) | ours.start_averaging(mine), plain.start(fast) | plain.start_averaging(fast)
    slow: list[torch.Tensor] = []
    for step in range(1, 12):
        gradients = random_tensors(step, *SHAPES)
        ours.step(mine, gradients, state, 0.1)
        ours.average(mine, state, step / 11)
        plain.step(fast, gradients, theirs, 0.1)
        plain.average(fast, theirs, step / 11)
        if step == 3:
            slow = [t.clone() for t in fast]
        if step in (6, 9, 11):
            share = 0.8 * (step / 11) ** power
            slow = [share * s + (1 - share) * f for s, f in zip(slow, fast, strict=True)]
            fast = [s.clone() for s in slow]
        torch.testing.assert_close(mine, fast)
    assert all(isinstance(t, torch.Tensor) for tensors in state.values() for t in tensors)
    assert {len(tensors) for tensors in state.values()} == {3}
