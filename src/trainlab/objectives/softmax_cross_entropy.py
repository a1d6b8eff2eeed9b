"""Maximize the log-probability of the label."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from trainlab.objectives.base import Draws, Logs, Objective


class SoftmaxCrossEntropy(Objective):
    """Softmax cross entropy.

    The model's outputs are logits of the classes. The gradient in them is (softmax(outputs) − onehot(label)) / batch.
    """

    name: Literal["softmax_cross_entropy"]

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        """Return the mean over the batch of −log softmax(outputs)[label].

        Parameters
        ----------
        outputs
            Logits, ``[batch, classes]``.
        labels
            Class indices, ``[batch]``, int64.
        draws
            Not used.

        Returns
        -------
        loss
            Scalar, in nats.
        logs
            Empty.
        """
        return F.cross_entropy(outputs, labels), {}
