"""How gradients change the weights: one small class each, named under `optimizer:`.

They call the functional forms behind ``torch.optim``: the classes import torch's compiler, which costs every training
process 1.3 s and changes no bit of the weights.
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
    weight_decay: float = Field(default=0, ge=0)

    def start(self, parameters: list[Tensor]) -> State:
        """The optimizer's memory before the first step: lists of tensors, one entry a parameter."""
        raise NotImplementedError

    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """Change ``parameters`` and ``state`` in place."""
        raise NotImplementedError


class Sgd(_Optimizer):
    """Stochastic gradient descent as ``torch.optim.SGD`` does it; `weight_decay` is L2 in the gradient."""

    name: Literal["sgd"]
    momentum: float = Field(default=0, ge=0, lt=1)
    nesterov: bool = False

    def start(self, parameters: list[Tensor]) -> State:
        # With buffers of zeros the first step is torch's, which starts the buffers as a copy of the first gradient.
        return {"momentum": [torch.zeros_like(p) for p in parameters]} if self.momentum else {}

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
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
    beta1: float = Field(ge=0, lt=1)
    beta2: float = Field(ge=0, lt=1)
    eps: float = Field(gt=0)
    _decoupled = False

    def start(self, parameters: list[Tensor]) -> State:
        return {
            "mean": [torch.zeros_like(p) for p in parameters],
            "square": [torch.zeros_like(p) for p in parameters],
            "steps": [torch.zeros((), device=p.device) for p in parameters],
        }

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
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
    """Adam; `weight_decay` is L2 in the gradient, so it is scaled like every other part of the gradient.

    References
    ----------
    Kingma and Ba 2015, *Adam: A Method for Stochastic Optimization*, algorithm 1.
    """

    name: Literal["adam"]


class AdamW(_AdamFamily):
    """Adam with decoupled `weight_decay`: each step shrinks the weights by lr · weight_decay.

    References
    ----------
    Loshchilov and Hutter 2019, *Decoupled Weight Decay Regularization*, algorithm 2.
    """

    name: Literal["adamw"]
    _decoupled = True


class Adagrad(_Optimizer):
    """Adagrad: the rate of each weight falls with the sum of its squared gradients; `weight_decay` is L2 in the gradient.

    Parameters
    ----------
    eps
        Above 0; added to the root of the sum, which starts at 0.

    References
    ----------
    Duchi, Hazan and Singer 2011, *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization*, figure 1,
    with diagonal matrices.
    """

    name: Literal["adagrad"]
    eps: float = Field(gt=0)

    def start(self, parameters: list[Tensor]) -> State:
        return {
            "square": [torch.zeros_like(p) for p in parameters],
            # On the CPU, because torch reads them in each step: on a GPU it would wait for each of them.
            "steps": [torch.zeros(()) for _ in parameters],
        }

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
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
    """RMSprop: gradients over the root of a running mean of their squares; `weight_decay` is L2 in the gradient.

    Parameters
    ----------
    alpha
        How much of the running mean a step keeps, in [0, 1).
    eps
        Above 0; added to the root.
    momentum
        In [0, 1), of the divided gradients.

    References
    ----------
    Tieleman and Hinton 2012, *Neural Networks for Machine Learning*, lecture 6e.
    """

    name: Literal["rmsprop"]
    alpha: float = Field(ge=0, lt=1)
    eps: float = Field(gt=0)
    momentum: float = Field(default=0, ge=0, lt=1)

    def start(self, parameters: list[Tensor]) -> State:
        state = {
            "square": [torch.zeros_like(p) for p in parameters],
            "steps": [torch.zeros((), device=p.device) for p in parameters],
        }
        if self.momentum:
            state["momentum"] = [torch.zeros_like(p) for p in parameters]
        return state

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        rmsprop(
            parameters,
            gradients,
            state["square"],
            [],
            state.get("momentum", []),
            state["steps"],
            foreach=True,  # torch has no fused form of it
            lr=lr,
            alpha=self.alpha,
            eps=self.eps,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            centered=False,
        )


Optimizer = one_of(Adagrad, Adam, AdamW, RMSprop, Sgd)
