"""How the learning rate changes while training: one small class each, named under `schedule:`."""

import math
from typing import Literal

from pydantic import Field

from trainlab.part import Part, one_of


class _Schedule(Part):
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


Schedule = one_of(Constant, Exponential, Step, Cosine)
