import pytest
import torch

from trainlab.optimizers import Adam, AdamW, Sgd

ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
DECAY = {"weight_decay": 0.01}


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
    ],
)
def test_steps_are_torchs_to_the_bit(ours, theirs) -> None:
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
