"""How the learning rate changes while training: one small class each, named under `schedule:`."""

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trainlab.component import Component, one_of


class _Schedule(Component):
    def factor(self, done: float, epochs: int) -> float:
        """What the run's `lr` is multiplied by.

        Parameters
        ----------
        done
            Epochs done so far, with fraction: 2.5 in the middle of the third epoch. In [0, epochs).
        epochs
            Epochs of the whole run.
        """
        raise NotImplementedError


class Constant(_Schedule):
    """The same rate from beginning to end."""

    name: Literal["constant"]

    def factor(self, done: float, epochs: int) -> float:
        return 1.0


class Exponential(_Schedule):
    """Multiply the rate by `gamma` after each epoch (as ``torch.optim.lr_scheduler.ExponentialLR``)."""

    name: Literal["exponential"]
    gamma: float = Field(gt=0, le=1)

    def factor(self, done: float, epochs: int) -> float:
        return self.gamma ** int(done)


class Step(_Schedule):
    """Multiply the rate by `gamma` after every `step_size` epochs (as ``torch.optim.lr_scheduler.StepLR``)."""

    name: Literal["step"]
    step_size: int = Field(ge=1)
    gamma: float = Field(gt=0, le=1)

    def factor(self, done: float, epochs: int) -> float:
        return self.gamma ** (int(done) // self.step_size)


class Cosine(_Schedule):
    """Half a cosine from the full rate towards zero, one value an epoch (as ``CosineAnnealingLR`` with ``T_max = epochs``).

    References
    ----------
    Loshchilov and Hutter 2017, *SGDR: Stochastic Gradient Descent with Warm Restarts*, equation 5, without restarts.
    """

    name: Literal["cosine"]

    def factor(self, done: float, epochs: int) -> float:
        return (1 + math.cos(math.pi * int(done) / epochs)) / 2


class OneCycle(_Schedule):
    """Half a cosine up to the full rate, then half a cosine down, a new value at each step.

    Training that has T steps ends, at ``done = epochs``, one step after its last rate was used, so the rates are those of
    ``OneCycleLR`` with ``total_steps = T + 1`` and ``pct_start = (T · warmup + 1) / (T + 1)``: torch counts its last step as
    the end, and the peak one step early. Momentum stays as it is.

    Parameters
    ----------
    warmup
        Fraction of training that the rate rises for, in (0, 1).
    start
        Fraction of the full rate that training starts with, in (0, 1].
    end
        Fraction of the full rate that training comes down to, in [0, 1].

    References
    ----------
    Smith and Topin 2018, *Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates*; with cosines
    for its straight lines, as in fastai and torch.
    """

    name: Literal["one_cycle"]
    warmup: float = Field(gt=0, lt=1)
    start: float = Field(gt=0, le=1)
    end: float = Field(ge=0, le=1)

    def factor(self, done: float, epochs: int) -> float:
        fraction = done / epochs
        if fraction < self.warmup:
            low, height = self.start, fraction / self.warmup
        else:
            low, height = self.end, (1 - fraction) / (1 - self.warmup)
        return low + (1 - low) * (1 - math.cos(math.pi * height)) / 2


class Milestones(_Schedule):
    """The full rate at first, then the rates that are written down.

    ``lr: 1e-1`` with ``after: [25, 40]`` and ``factors: [0.7, 0.5]`` is a rate of 1e-1 for 25 epochs, of 7e-2 for the next
    15 and of 5e-2 from there on.

    Parameters
    ----------
    after
        Epochs done when the rate changes, increasing, each at least 1.
    factors
        What the run's `lr` (not the rate before) is multiplied by from there on; above 0, as many as in `after`.
    """

    name: Literal["milestones"]
    after: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    factors: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_lists(self) -> Self:
        if len(self.after) != len(self.factors):
            raise PydanticCustomError("length", "after and factors must be lists of the same length")
        if any(a >= b for a, b in pairwise(self.after)):
            raise PydanticCustomError("order", "the epochs in after must increase")
        return self

    def factor(self, done: float, epochs: int) -> float:
        return [1.0, *self.factors][bisect_right(self.after, int(done))]


Schedule = one_of(Constant, Exponential, Step, Cosine, OneCycle, Milestones)
