"""Maximize the log-probability of the label."""

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from trainlab.objectives.base import Draws, Logs, Objective


class SoftmaxCrossEntropy(Objective):
    """Softmax cross entropy.

    The model's outputs are logits of the classes. The gradient in them is (softmax(outputs) − target) / batch. The target is
    onehot(label), or with label smoothing s: (1 − s) · onehot(label) + s / classes.

    Parameters
    ----------
    label_smoothing
        Share of the target that is spread evenly over all classes, in [0, 1).

    References
    ----------
    Label smoothing: Szegedy et al. 2016, *Rethinking the Inception Architecture for Computer Vision*, section 7.
    """

    name: Literal["softmax_cross_entropy"]
    label_smoothing: float = Field(default=0, ge=0, lt=1)

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        """Return the mean over the batch of −Σ target · log softmax(outputs).

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
        return F.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing), {}
