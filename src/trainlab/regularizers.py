"""What keeps the weights small or sparse: one small class each, named in the list `regularizers:`.

They act on weights alone (two dimensions or more): not on biases, nor on the scales and shifts of a normalization. A
penalty enters as its gradient, so the loss in the history is the objective's and comparable between runs.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from trainlab.component import Component, one_of


class _Regularizer(Component):
    def add_gradient(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        """Add the penalty's gradient to ``gradients`` in place; called before the optimizer's step."""

    def constrain(self, parameters: list[Tensor]) -> None:
        """Bring ``parameters`` back to where they are allowed to be, in place; called after the optimizer's step."""


class L1(_Regularizer):
    """Add strength · Σ|w| to the loss, which draws weights to zero at one pace (Tibshirani 1996, the lasso).

    A weight of zero has no gradient from it, as in torch.
    """

    name: Literal["l1"]
    strength: float = Field(gt=0)

    @torch.no_grad()
    def add_gradient(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        torch._foreach_add_(_weights(gradients), torch._foreach_sign(_weights(parameters)), alpha=self.strength)


class ElasticNet(_Regularizer):
    """Add l1 · Σ|w| + l2 / 2 · Σw² to the loss; on weights, `l2` is what `weight_decay` is to ``sgd``.

    References
    ----------
    Zou and Hastie 2005, *Regularization and Variable Selection via the Elastic Net*, section 2.1.
    """

    name: Literal["elastic_net"]
    l1: float = Field(gt=0)
    l2: float = Field(gt=0)

    @torch.no_grad()
    def add_gradient(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        weights, weight_gradients = _weights(parameters), _weights(gradients)
        torch._foreach_add_(weight_gradients, torch._foreach_sign(weights), alpha=self.l1)
        torch._foreach_add_(weight_gradients, weights, alpha=self.l2)


class MaxNorm(_Regularizer):
    """Scale each unit's incoming weights (a row of a linear layer, a filter of a convolution) down to norm `limit`.

    Units below the limit stay as they are.

    References
    ----------
    Srivastava et al. 2014, *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*, section 5.1.
    """

    name: Literal["max_norm"]
    limit: float = Field(gt=0)

    @torch.no_grad()
    def constrain(self, parameters: list[Tensor]) -> None:
        for weight in _weights(parameters):
            weight.renorm_(2, 0, self.limit)


def _weights(tensors: list[Tensor]) -> list[Tensor]:
    """Return the tensors of weights, out of all parameters or out of all gradients."""
    return [tensor for tensor in tensors if tensor.dim() >= 2]


Regularizer = one_of(L1, ElasticNet, MaxNorm)
