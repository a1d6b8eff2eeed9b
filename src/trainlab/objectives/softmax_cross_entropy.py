"""Maximize the probability of the label: the default of classification."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from trainlab.objectives.base import Draws, Logs, Objective


class SoftmaxCrossEntropy(Objective):
    """Softmax cross entropy.

    The model's outputs are logits of the classes. The gradient in the outputs is (softmax(outputs) − onehot(label)) / batch.
    """

    name: Literal["softmax_cross_entropy"]

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        """Mean over the batch of −log softmax(outputs)[label].

        Parameters
        ----------
        outputs
            Logits, ``[batch, classes]``.
        labels
            Class indices, ``[batch]``, int64.
        draws
            Nothing: this objective draws no random numbers.

        Returns
        -------
        loss
            Scalar, in nats.
        logs
            Empty.
        """
        return F.cross_entropy(outputs, labels), {}
