"""Optimizers, selected under `optimizer:`.

They call the functional forms behind ``torch.optim``, which give the same bits: the classes import torch's compiler, which
takes 1.3 s in every training process.
"""

import itertools
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from trainlab.component import Component, Count, NotNegative, Positive, Strict, one_of

State = dict[str, list[Tensor]]


class Lookahead(Strict):
    """Slow weights that follow the optimizer's: every few steps both meet between the two.

    The slow weights keep a share of decay · (fraction of training done)**power and take the rest from the optimizer's
    weights, which continue from there. They start as the weights after the first few steps, and training ends with them.

    Parameters
    ----------
    every
        Steps between two meetings, ≥ 1.
    decay
        Share of the slow weights that is kept at the end of training, in [0, 1).
    power
        Exponent of its growth, ≥ 0; 0 for a constant share.

    References
    ----------
    Zhang et al. 2019, *Lookahead Optimizer: k Steps Forward, 1 Step Back*, algorithm 1, with α = 1 − share. The growing
    share: Jordan 2024, *94% on CIFAR-10 in 3.29 Seconds on a Single GPU*, section 3.4.
    """

    every: Count
    decay: float = Field(ge=0, lt=1)
    power: NotNegative

    def start(self, parameters: list[Tensor]) -> State:
        """Return the slow weights, and how many steps were done: one number per parameter, as the rest of the state."""
        return {
            "slow": [torch.zeros_like(p) for p in parameters],
            "lookahead_steps": [torch.zeros(()) for _ in parameters],  # on the CPU, because each step reads it
        }

    @torch.no_grad()
    def average(self, parameters: list[Tensor], state: State, done: float) -> None:
        """Update ``parameters``, and the slow weights and the number of steps in ``state``, in place."""
        slow, counters = state["slow"], state["lookahead_steps"]
        torch._foreach_add_(counters, 1)
        steps = int(counters[0])
        if steps % self.every and done < 1:
            return
        share = self.decay * done**self.power if steps > self.every else 0
        torch._foreach_lerp_(slow, parameters, 1 - share)
        torch._foreach_copy_(parameters, slow)


class _Optimizer(Component):
    """Base class of optimizers.

    Parameters
    ----------
    weight_decay
        Strength of the decay, ≥ 0; each optimizer says how it is applied.
    lookahead
        Averaging of the weights over steps; none for no averaging.
    """

    weight_decay: NotNegative = 0
    lookahead: Lookahead | None = None

    def start(self, parameters: list[Tensor]) -> State:
        """Return the state before the first step: lists of tensors, one per parameter."""
        raise NotImplementedError

    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """Update ``parameters`` and ``state`` in place; ``gradients`` are not changed."""
        raise NotImplementedError

    def start_averaging(self, parameters: list[Tensor]) -> State:
        """Return the state of :class:`Lookahead`, if there is any, beside that of the steps."""
        return self.lookahead.start(parameters) if self.lookahead else {}

    def average(self, parameters: list[Tensor], state: State, done: float) -> None:
        """Apply :class:`Lookahead`, if there is any, to ``parameters`` and ``state`` in place after each step.

        Parameters
        ----------
        parameters, state
            As for :meth:`step`.
        done
            Fraction of training done, in (0, 1]; 1 after the last step.
        """
        if self.lookahead:
            self.lookahead.average(parameters, state, done)


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


class SgdW(_Optimizer):
    """Nesterov SGD with decoupled `weight_decay` and a rate of its own for biases.

    Each step multiplies all parameters by 1 − lr · weight_decay. Biases are the parameters with one dimension: those of
    layers, and the shifts and scales of a normalization. Their rate does not change their decay.

    Parameters
    ----------
    momentum
        Factor of the previous update, in [0, 1).
    bias_rate
        Factor of the rate of biases, > 0.

    References
    ----------
    Loshchilov and Hutter 2019, *Decoupled Weight Decay Regularization*, algorithm 1. Nesterov's momentum: Sutskever et al.
    2013. Rate of biases: Jordan 2024, *94% on CIFAR-10 in 3.29 Seconds on a Single GPU*, section 3.4, from hlb-CIFAR10.
    """

    name: Literal["sgdw"]
    momentum: float = Field(ge=0, lt=1)
    bias_rate: Positive

    def start(self, parameters: list[Tensor]) -> State:
        """Return the buffers of the momentum."""
        return {"momentum": [torch.zeros_like(p) for p in parameters]}

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """Update ``parameters`` and ``state`` in place."""
        if self.weight_decay:
            torch._foreach_mul_(parameters, 1 - lr * self.weight_decay)
        columns = parameters, gradients, state["momentum"]
        for biases in (False, True):
            chosen = [(p.dim() == 1) is biases for p in parameters]
            _nesterov(columns, chosen, lr=lr * (self.bias_rate if biases else 1), momentum=self.momentum)


class Muon(_Optimizer):
    """Muon: steps of orthogonalized momentum for the filters of convolutions, Nesterov SGD for everything else.

    The momentum of a convolution, as a matrix with one row per filter, is replaced by the nearest matrix with orthogonal
    rows (or columns), approximately: all directions of a filter bank then learn at the same rate. Each step multiplies
    all parameters by 1 − lr · `weight_decay`.

    Parameters
    ----------
    momentum
        Factor of the previous update of the filters, in [0, 1); Nesterov's.
    iterations
        Newton–Schulz iterations per step, 1 to 100.
    other_momentum
        Factor of the previous update of everything else, in [0, 1); Nesterov's.
    linear_rate, bias_rate
        Factors of the rate of linear layers' weights and of biases (all parameters with one dimension), > 0.

    References
    ----------
    Jordan et al. 2024, *Muon: An Optimizer for Hidden Layers in Neural Networks*.
    """

    name: Literal["muon"]
    momentum: float = Field(ge=0, lt=1)
    iterations: int = Field(ge=1, le=100)
    other_momentum: float = Field(ge=0, lt=1)
    linear_rate: Positive
    bias_rate: Positive

    def start(self, parameters: list[Tensor]) -> State:
        """Return the buffers of the momentum."""
        return {"momentum": [torch.zeros_like(p) for p in parameters]}

    @torch.no_grad()
    def step(self, parameters: list[Tensor], gradients: list[Tensor], state: State, lr: float) -> None:
        """Update ``parameters`` and ``state`` in place."""
        if self.weight_decay:
            torch._foreach_mul_(parameters, 1 - lr * self.weight_decay)
        columns = parameters, gradients, state["momentum"]
        for dimensions, rate in ((1, self.bias_rate), (2, self.linear_rate)):
            chosen = [p.dim() == dimensions for p in parameters]
            _nesterov(columns, chosen, lr=lr * rate, momentum=self.other_momentum)
        for parameter, gradient, buffer in zip(*columns, strict=True):
            if parameter.dim() > 2:
                buffer.mul_(self.momentum).add_(gradient)
                update = orthogonalized(torch.add(gradient, buffer, alpha=self.momentum).flatten(1), self.iterations)
                parameter.sub_(update.view(parameter.shape), alpha=lr)


def _nesterov(columns: tuple[list[Tensor], ...], chosen: list[bool], *, lr: float, momentum: float) -> None:
    """Update those of the parameters that are chosen; ``columns`` are parameters, gradients and buffers."""
    if not any(chosen):
        return
    parameters, gradients, buffers = (list(itertools.compress(column, chosen)) for column in columns)
    sgd(
        parameters,
        gradients,
        list[Tensor | None](buffers),
        fused=True,
        weight_decay=0,
        momentum=momentum,
        lr=lr,
        dampening=0,
        nesterov=True,
        maximize=False,
    )


def orthogonalized(matrix: Tensor, iterations: int) -> Tensor:
    """Return the matrix with its singular values moved towards 1, by Newton–Schulz iterations.

    The matrix is divided by its Frobenius norm; each iteration then maps each singular value s to a·s + b·s³ + c·s⁵ and keeps
    the singular vectors. The coefficients are those of the paper: small values grow quickly, and large ones end between 0.7
    and 1.2.

    Parameters
    ----------
    matrix
        ``[rows, columns]``.
    iterations
        ≥ 1; 5 bring all singular values above 0.01 of the norm into this range.

    References
    ----------
    Jordan et al. 2024, *Muon: An Optimizer for Hidden Layers in Neural Networks*, section "Newton-Schulz iteration".
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    if matrix.shape[0] > matrix.shape[1]:  # the squares are smaller the other way round
        return orthogonalized(matrix.T, iterations).T
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x


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
    eps: Positive
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
    eps: Positive

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
    eps: Positive
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


Optimizer = one_of(Adagrad, Adam, AdamW, Muon, RMSprop, Sgd, SgdW)
