"""Optimizers, selected under `optimizer:`.

They call the functional forms behind ``torch.optim``, which give the same bits: the classes import torch's compiler, which
takes 1.3 s in every training process.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from trainlab.component import Component, one_of

State = dict[str, list[Tensor]]


class _Optimizer(Component):
    """Base class of optimizers.

    Parameters
    ----------
    weight_decay
        Strength of the decay, ≥ 0; each optimizer says how it is applied.
    """

    weight_decay: float = Field(default=0, ge=0)

    def start(self, parameters: list[Tensor]) -> State:
        """Return the state before the first step: lists of tensors, one per parameter."""
        raise NotImplementedError

    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """Update ``parameters`` and ``state`` in place; ``gradients`` are not changed."""
        raise NotImplementedError


class Sgd(_Optimizer):
    """Stochastic gradient descent, as ``torch.optim.SGD``; `weight_decay` is added to the gradient (L2).

    Parameters
    ----------
    momentum
        Factor of the previous update, in [0, 1).
    nesterov
        Whether to use Nesterov's momentum.

    References
    ----------
    Sutskever et al. 2013, *On the Importance of Initialization and Momentum in Deep Learning*.
    """

    name: Literal["sgd"]
    momentum: float = Field(default=0, ge=0, lt=1)
    nesterov: bool = False

    def start(self, parameters: list[Tensor]) -> State:
        """Return the buffers of the momentum, if there is any."""
        # Zeros give the same first step as torch, which copies the first gradient into the buffer.
        return {"momentum": [torch.zeros_like(p) for p in parameters]} if self.momentum else {}

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """Update ``parameters`` and ``state`` in place."""
        sgd(
            parameters,
            gradients,
            list[Tensor | None](state["momentum"]) if self.momentum else [None] * len(parameters),
            fused=True,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=lr,
            dampening=0,
            nesterov=self.nesterov,
            maximize=False,
        )


class _AdamFamily(_Optimizer):
    """Adam and AdamW.

    Parameters
    ----------
    beta1, beta2
        Decay rates of the running means of gradients and of squared gradients, in [0, 1).
    eps
        Added to the denominator, > 0.
    """

    beta1: float = Field(ge=0, lt=1)
    beta2: float = Field(ge=0, lt=1)
    eps: float = Field(gt=0)
    _decoupled = False

    def start(self, parameters: list[Tensor]) -> State:
        """Return running means of gradients and of their squares, and step counters."""
        return {
            "mean": [torch.zeros_like(p) for p in parameters],
            "square": [torch.zeros_like(p) for p in parameters],
            "steps": [torch.zeros((), device=p.device) for p in parameters],
        }

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """Update ``parameters`` and ``state`` in place."""
        adam(
            parameters,
            gradients,
            state["mean"],
            state["square"],
            [],
            state["steps"],
            fused=True,
            decoupled_weight_decay=self._decoupled,
            amsgrad=False,
            beta1=self.beta1,
            beta2=self.beta2,
            lr=lr,
            weight_decay=self.weight_decay,
            eps=self.eps,
            maximize=False,
        )


class Adam(_AdamFamily):
    """Adam; `weight_decay` is added to the gradient (L2), so it is scaled as the gradient is.

    References
    ----------
    Kingma and Ba 2015, *Adam: A Method for Stochastic Optimization*, algorithm 1.
    """

    name: Literal["adam"]


class AdamW(_AdamFamily):
    """Adam with decoupled `weight_decay`: each step multiplies the weights by 1 − lr · weight_decay.

    References
    ----------
    Loshchilov and Hutter 2019, *Decoupled Weight Decay Regularization*, algorithm 2.
    """

    name: Literal["adamw"]
    _decoupled = True


class Adagrad(_Optimizer):
    """Adagrad: divide by the root of the sum of squared gradients; `weight_decay` is added to the gradient (L2).

    Parameters
    ----------
    eps
        Added to the denominator, > 0.

    References
    ----------
    Duchi, Hazan and Singer 2011, *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization*, figure 1,
    with diagonal matrices.
    """

    name: Literal["adagrad"]
    eps: float = Field(gt=0)

    def start(self, parameters: list[Tensor]) -> State:
        """Return sums of squared gradients, and step counters."""
        return {
            "square": [torch.zeros_like(p) for p in parameters],
            # On the CPU, because torch reads them in each step: on a GPU it would wait for each of them.
            "steps": [torch.zeros(()) for _ in parameters],
        }

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """Update ``parameters`` and ``state`` in place."""
        on_cpu = parameters[0].device.type == "cpu"
        adagrad(
            parameters,
            gradients,
            state["square"],
            state["steps"],
            fused=on_cpu,
            foreach=not on_cpu,  # torch has no fused form for a GPU
            lr=lr,
            weight_decay=self.weight_decay,
            lr_decay=0,  # schedules do that
            eps=self.eps,
            maximize=False,
        )


class RMSprop(_Optimizer):
    """RMSprop: divide by the root of a running mean of squared gradients; `weight_decay` is added to the gradient (L2).

    Parameters
    ----------
    alpha
        Decay rate of the running mean, in [0, 1).
    eps
        Added to the denominator, > 0.
    momentum
        Factor of the previous update, in [0, 1).

    References
    ----------
    Tieleman and Hinton 2012, *Neural Networks for Machine Learning*, lecture 6e.
    """

    name: Literal["rmsprop"]
    alpha: float = Field(ge=0, lt=1)
    eps: float = Field(gt=0)
    momentum: float = Field(default=0, ge=0, lt=1)

    def start(self, parameters: list[Tensor]) -> State:
        """Return running means of squared gradients, step counters, and the buffers of the momentum, if there is any."""
        state = {
            "square": [torch.zeros_like(p) for p in parameters],
            "steps": [torch.zeros((), device=p.device) for p in parameters],
        }
        if self.momentum:
            state["momentum"] = [torch.zeros_like(p) for p in parameters]
        return state

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """Update ``parameters`` and ``state`` in place."""
        rmsprop(
            parameters,
            gradients,
            state["square"],
            [],
            state.get("momentum", []),
            state["steps"],
            foreach=True,  # torch has no fused form
            lr=lr,
            alpha=self.alpha,
            eps=self.eps,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            centered=False,
        )


Optimizer = one_of(Adagrad, Adam, AdamW, RMSprop, Sgd)
