"""Learning-rate schedules, selected under `schedule:`."""

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trainlab.component import Component, Count, Positive, one_of


class _Schedule(Component):
    """Base class of schedules."""

    def factor(self, done: float, epochs: int) -> float:
        """Return the factor of the run's `lr`.

        Parameters
        ----------
        done
            Number of epochs done, in [0, epochs), with a fraction: 2.5 in the middle of the third epoch.
        epochs
            Number of epochs of the run.
        """
        raise NotImplementedError


class Constant(_Schedule):
    """Constant learning rate."""

    name: Literal["constant"]

    def factor(self, done: float, epochs: int) -> float:
        """Return 1."""
        return 1.0


class Exponential(_Schedule):
    """Multiply the rate by `gamma` after each epoch, as ``torch.optim.lr_scheduler.ExponentialLR`` does.

    Parameters
    ----------
    gamma
        Factor per epoch, in (0, 1].
    """

    name: Literal["exponential"]
    gamma: float = Field(gt=0, le=1)

    def factor(self, done: float, epochs: int) -> float:
        """Return gamma to the power of the number of whole epochs done."""
        return self.gamma ** int(done)


class Step(_Schedule):
    """Multiply the rate by `gamma` after every `step_size` epochs, as ``torch.optim.lr_scheduler.StepLR`` does.

    Parameters
    ----------
    step_size
        Number of epochs between two changes, ≥ 1.
    gamma
        Factor per change, in (0, 1].
    """

    name: Literal["step"]
    step_size: Count
    gamma: float = Field(gt=0, le=1)

    def factor(self, done: float, epochs: int) -> float:
        """Return gamma to the power of the number of changes so far."""
        return self.gamma ** (int(done) // self.step_size)


class Cosine(_Schedule):
    """Half a cosine from the full rate to zero, constant within an epoch: ``CosineAnnealingLR`` with ``T_max = epochs``.

    References
    ----------
    Loshchilov and Hutter 2017, *SGDR: Stochastic Gradient Descent with Warm Restarts*, equation 5, without restarts.
    """

    name: Literal["cosine"]

    def factor(self, done: float, epochs: int) -> float:
        """Return the cosine at the start of the epoch."""
        return (1 + math.cos(math.pi * int(done) / epochs)) / 2


class OneCycle(_Schedule):
    """Half a cosine up to the full rate, then half a cosine down; the rate changes at each step.

    In a training of T steps, ``done = epochs`` is one step after the last one, so the rates are those of ``OneCycleLR``
    with ``total_steps = T + 1`` and ``pct_start = (T · warmup + 1) / (T + 1)``: torch counts its last step as the end, and
    puts the peak one step earlier. Momentum is not changed.

    Parameters
    ----------
    warmup
        Fraction of training in which the rate rises, in (0, 1).
    start
        First rate as a fraction of the full rate, in (0, 1].
    end
        Last rate as a fraction of the full rate, in [0, 1].

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
        """Return the value of the two half cosines at this point of training."""
        fraction = done / epochs
        if fraction < self.warmup:
            low, height = self.start, fraction / self.warmup
        else:
            low, height = self.end, (1 - fraction) / (1 - self.warmup)
        return low + (1 - low) * (1 - math.cos(math.pi * height)) / 2


class Triangular(_Schedule):
    """A straight line up to the full rate, then a straight line down; the rate changes at each step.

    Parameters
    ----------
    start
        First rate as a fraction of the full rate, in (0, 1]. Not used if `peak` is 0.
    peak
        Fraction of training after which the rate is the full one, in [0, 1). 0 for a line down from the first step on.
    end
        Rate after the last step as a fraction of the full rate, in [0, 1].

    References
    ----------
    Smith 2017, *Cyclical Learning Rates for Training Neural Networks*, section 3.1; one cycle of it as in Page 2018, *How to
    Train Your ResNet*, part 1, and Jordan 2024, *94% on CIFAR-10 in 3.29 Seconds on a Single GPU*, section 3.1.
    """

    name: Literal["triangular"]
    start: float = Field(gt=0, le=1)
    peak: float = Field(ge=0, lt=1)
    end: float = Field(ge=0, le=1)

    def factor(self, done: float, epochs: int) -> float:
        """Return the value of the two straight lines at this point of training."""
        fraction = done / epochs
        if fraction < self.peak:
            return self.start + (1 - self.start) * fraction / self.peak
        return self.end + (1 - self.end) * (1 - fraction) / (1 - self.peak)


class Milestones(_Schedule):
    """A list of factors, each from a given epoch on.

    ``lr: 1e-1`` with ``after: [25, 40]`` and ``factors: [0.7, 0.5]`` is a rate of 1e-1 for 25 epochs, 7e-2 for the next 15
    and 5e-2 after that.

    Parameters
    ----------
    after
        Number of epochs done at each change: increasing, ≥ 1.
    factors
        Factors of the run's `lr` (not of the previous rate), > 0; as many as in `after`.
    """

    name: Literal["milestones"]
    after: list[Count] = Field(min_length=1)
    factors: list[Positive] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_lists(self) -> Self:
        if len(self.after) != len(self.factors):
            raise PydanticCustomError("length", "after and factors must be lists of the same length")
        if any(a >= b for a, b in pairwise(self.after)):
            raise PydanticCustomError("order", "the epochs in after must increase")
        return self

    def factor(self, done: float, epochs: int) -> float:
        """Return the factor of the last milestone that was reached; 1 before the first."""
        return [1.0, *self.factors][bisect_right(self.after, int(done))]


Schedule = one_of(Constant, Exponential, Step, Cosine, OneCycle, Triangular, Milestones)
