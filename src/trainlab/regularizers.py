"""Penalties and constraints that keep weights small or sparse, selected in the list `regularizers:`.

They act only on weights (two dimensions or more): not on biases, nor on the scales and shifts of a normalization. A penalty
is added as its gradient, so the loss in the history is the objective's and comparable between runs.
"""

from typing import Literal

import torch
from torch import Tensor

from trainlab.component import Component, Positive, one_of


class _Regularizer(Component):
    """Base class of regularizers; does nothing."""

    def add_gradient(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        """Add the gradient of the penalty to ``gradients`` in place, before the optimizer's step."""

    def constrain(self, parameters: list[Tensor]) -> None:
        """Project ``parameters`` onto the allowed set in place, after the optimizer's step."""


class L1(_Regularizer):
    """Add strength · Σ|w| to the loss, which makes weights sparse. The gradient at a weight of 0 is 0, as in torch.

    Parameters
    ----------
    strength
        Weight of the penalty, > 0.

    References
    ----------
    Tibshirani 1996, *Regression Shrinkage and Selection via the Lasso*.
    """

    name: Literal["l1"]
    strength: Positive

    @torch.no_grad()
    def add_gradient(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        """Add strength · sign(w) to the gradients of weights in place."""
        torch._foreach_add_(_weights(gradients), torch._foreach_sign(_weights(parameters)), alpha=self.strength)


class ElasticNet(_Regularizer):
    """Add l1 · Σ|w| + l2 / 2 · Σw² to the loss.

    Parameters
    ----------
    l1
        Weight of the sum of absolute values, > 0.
    l2
        Weight of the sum of squares, > 0; the same as `weight_decay` of ``sgd``, but not for biases.

    References
    ----------
    Zou and Hastie 2005, *Regularization and Variable Selection via the Elastic Net*, section 2.1.
    """

    name: Literal["elastic_net"]
    l1: Positive
    l2: Positive

    @torch.no_grad()
    def add_gradient(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        """Add l1 · sign(w) + l2 · w to the gradients of weights in place."""
        weights, weight_gradients = _weights(parameters), _weights(gradients)
        torch._foreach_add_(weight_gradients, torch._foreach_sign(weights), alpha=self.l1)
        torch._foreach_add_(weight_gradients, weights, alpha=self.l2)


class MaxNorm(_Regularizer):
    """Scale the incoming weights of each unit (row of a linear layer, filter of a convolution) down to norm `limit`.

    Parameters
    ----------
    limit
        Largest L2 norm, > 0. Units below it are unchanged.

    References
    ----------
    Srivastava et al. 2014, *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*, section 5.1.
    """

    name: Literal["max_norm"]
    limit: Positive

    @torch.no_grad()
    def constrain(self, parameters: list[Tensor]) -> None:
        """Scale units with a larger norm down in place."""
        for weight in _weights(parameters):
            weight.renorm_(2, 0, self.limit)


class FilterNorm(_Regularizer):
    """Scale the weights of each convolution to a norm of the root of its number of filters.

    For convolutions that a batch normalization follows: it cancels the scale, which then only sets the size of a step
    relative to the weights. Other weights are unchanged.

    References
    ----------
    cifar10-airbench, ``airbench94_muon.py``, which scales before each step.
    """

    name: Literal["filter_norm"]

    @torch.no_grad()
    def constrain(self, parameters: list[Tensor]) -> None:
        """Scale convolutions in place."""
        for weight in parameters:
            if weight.dim() > 2:
                weight.mul_(len(weight) ** 0.5 / weight.norm())


def _weights(tensors: list[Tensor]) -> list[Tensor]:
    """Return the tensors of weights, out of all parameters or out of all gradients."""
    return [tensor for tensor in tensors if tensor.dim() >= 2]


Regularizer = one_of(L1, ElasticNet, FilterNorm, MaxNorm)
