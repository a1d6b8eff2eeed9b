"""Softmax cross entropy over a few sampled classes, for data with very many classes."""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trainlab.component import Size
from trainlab.objectives.base import Draws, Logs, Objective

REJECTED = 1e6  # subtracted from the score of a sample that equals the label, so that its probability becomes 0


class SampledSoftmax(Objective):
    """Softmax cross entropy over the label and a few uniformly drawn classes, which all images of a batch share.

    log(classes − 1) − log(number of samples that are not the label) is added to the score of each sample, so that the sum
    over the samples estimates the sum over all other classes. A sample equal to the label is rejected; an image whose
    samples are all rejected has a loss of 0.

    Parameters
    ----------
    n_samples
        Number of classes drawn per step, with replacement, 1 to 65,536.

    References
    ----------
    Jean et al. 2015, *On Using Very Large Target Vocabulary for Neural Machine Translation*, section 3. Bengio and
    Senécal 2008, *Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model*.
    """

    needs_head: ClassVar[bool] = True
    name: Literal["sampled_softmax"]
    n_samples: Size

    def draw(self, batch: int, num_classes: int, *, generator: Generator) -> Draws:
        """Return ``samples``: class indices ``[n_samples]``, the same for all images of the batch."""
        return {"samples": torch.randint(num_classes, (self.n_samples,), device=generator.device, generator=generator)}

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        """Return the mean cross entropy of the label against label and samples.

        Parameters
        ----------
        outputs
            Logits, ``[batch, classes]``.
        labels
            Class indices, ``[batch]``, int64.
        draws
            Random numbers from :meth:`draw`.

        Returns
        -------
        loss
            Scalar, in nats.
        logs
            Empty.
        """
        label_scores = outputs.gather(1, labels[:, None])
        sample_scores = outputs.index_select(1, draws["samples"])
        return self._loss(label_scores, sample_scores, labels, draws["samples"], outputs.shape[1]), {}

    def loss_from_features(
        self, features: Tensor, head: nn.Linear, labels: Tensor, draws: Draws
    ) -> tuple[Tensor, Logs]:
        """Return the same loss from the input of the last layer, of which only the needed rows are computed.

        Parameters
        ----------
        features
            ``[batch, head.in_features]``.
        head
            The last layer, with one output per class.
        labels, draws
            As for :meth:`loss`.
        """
        samples = draws["samples"]
        needed = torch.cat([labels, samples])
        # Not `weight[needed]`: its backward pass adds with several threads in any order, so that bits change from run to run.
        weight = head.weight.index_select(0, needed)
        batch = len(labels)
        label_scores = (features * weight[:batch]).sum(1, keepdim=True)
        sample_scores = features @ weight[batch:].T
        if head.bias is not None:
            bias = head.bias.index_select(0, needed)
            label_scores, sample_scores = label_scores + bias[:batch, None], sample_scores + bias[batch:]
        return self._loss(label_scores, sample_scores, labels, samples, head.out_features), {}

    def _loss(
        self, label_scores: Tensor, sample_scores: Tensor, labels: Tensor, samples: Tensor, num_classes: int
    ) -> Tensor:
        rejected = samples == labels[:, None]
        used = (
            (~rejected).sum(1, keepdim=True).clamp(min=1)
        )  # 1 where no sample is used, so that the logarithm is finite
        correction = math.log(num_classes - 1) - torch.log(used.to(label_scores.dtype))
        scores = sample_scores + correction - REJECTED * rejected.to(label_scores.dtype)
        # The label is the first class of this softmax.
        return F.cross_entropy(torch.cat([label_scores, scores], 1), torch.zeros_like(labels))
