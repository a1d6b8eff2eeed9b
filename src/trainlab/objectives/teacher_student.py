"""Learn from the label and from another model's probabilities (distillation)."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from trainlab.component import Positive
from trainlab.objectives.base import Draws, Logs, Objective


class TeacherStudent(Objective):
    """Cross entropy against a mixture of the label and a teacher's probabilities.

    At temperature 1 the loss is KL(t ‖ softmax(outputs)) with the target t = alpha·softmax(teacher) + (1 − alpha)·onehot(label),
    and its gradient in the outputs is (softmax(outputs) − t) / batch.

    Parameters
    ----------
    alpha
        Weight of the teacher, in [0, 1]; 0 is softmax cross entropy.
    temperature
        Divisor of the teacher's and the student's logits in the teacher's part, > 0. That part is multiplied by
        temperature², which preserves the size of its gradient.

    References
    ----------
    Hinton, Vinyals and Dean 2015, *Distilling the Knowledge in a Neural Network*, section 2.
    """

    needs_teacher: ClassVar[bool] = True
    name: Literal["teacher_student"]
    alpha: float = Field(ge=0, le=1)
    temperature: Positive

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        """Return the mean mixed cross entropy, minus the entropies that make it a divergence at temperature 1.

        Parameters
        ----------
        outputs
            The student's logits, ``[batch, classes]``.
        labels
            Class indices, ``[batch]``, int64.
        draws
            ``teacher_outputs``: the teacher's class scores for the same images, ``[batch, classes]``. No gradient flows to
            them.

        Returns
        -------
        loss
            Scalar, in nats.
        logs
            ``teacher_agreement`` and ``label_agreement``: fraction of images for which the student predicts the class
            that the teacher predicts, and the label, in [0, 1].
        """
        scale = self.temperature**2
        teacher = draws["teacher_outputs"].detach()
        soft = F.softmax(teacher / self.temperature, 1)
        target = self.alpha * soft + (1 - self.alpha) * F.one_hot(labels, outputs.shape[1])
        teacher_loss = F.cross_entropy(outputs / self.temperature, soft)
        label_loss = F.cross_entropy(outputs, labels)
        entropies = torch.special.entr(target) + self.alpha * (scale - 1) * torch.special.entr(soft)
        loss = self.alpha * scale * teacher_loss + (1 - self.alpha) * label_loss - entropies.sum(1).mean()
        predicted = outputs.detach().argmax(1)
        return loss, {
            "teacher_agreement": (predicted == teacher.argmax(1)).to(outputs.dtype).mean(),
            "label_agreement": (predicted == labels).to(outputs.dtype).mean(),
        }
