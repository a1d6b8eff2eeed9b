"""The interface between a training objective and the training loop."""

from typing import ClassVar

from torch import Generator, Tensor, nn

from trainlab.component import Component

# What one loss takes besides outputs and labels: the random numbers of a step and, for a student, `teacher_outputs`.
Draws = dict[str, Tensor]
Logs = dict[str, Tensor]


class Objective(Component):
    """A training objective: its hyperparameters, its random numbers and its loss.

    Random numbers are drawn apart from the loss, so that the loss is a pure function of tensors: it can be differentiated,
    enumerated in a test, compiled or captured in a CUDA graph.

    Attributes
    ----------
    needs_head
        Whether the loss computes only part of the last layer: training then calls :meth:`loss_from_features`, and the
        model needs a linear ``head``.
    needs_teacher
        Whether ``draws`` must hold ``teacher_outputs``: class scores ``[batch, num_classes]`` of another run's model for
        the same images. Such a run stands under `students` in params.yaml.
    """

    needs_head: ClassVar[bool] = False
    needs_teacher: ClassVar[bool] = False

    def num_outputs(self, num_classes: int) -> int:
        """Return the number of outputs that the model needs: one per class, and more if it predicts something else too."""
        return num_classes

    def draw(self, batch: int, num_classes: int, *, generator: Generator) -> Draws:
        """Return every random number of one step, as tensors on the generator's device."""
        return {}

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        """Return the loss to minimize and the numbers to log.

        Parameters
        ----------
        outputs
            ``[batch, num_outputs]``.
        labels
            Class indices, ``[batch]``, int64.
        draws
            What :meth:`draw` returned for this step, and ``teacher_outputs`` if :attr:`needs_teacher`.

        Returns
        -------
        loss
            Scalar, mean over the batch.
        logs
            Scalars by name, on the device of the outputs.
        """
        raise NotImplementedError

    def loss_from_features(
        self, features: Tensor, head: nn.Linear, labels: Tensor, draws: Draws
    ) -> tuple[Tensor, Logs]:
        """Return the same from the input of the last layer, ``[batch, head.in_features]``, if :attr:`needs_head`."""
        raise NotImplementedError

    def closed_form_gradient(self, outputs: Tensor, labels: Tensor, draws: Draws) -> Tensor | None:
        """Return the gradient that :meth:`loss` must have in the outputs, ``[batch, num_outputs]``, or None.

        None means the derivative of the loss, which finite differences can check. A loss that holds a part of itself
        constant has another gradient: the gradient check compares it with this one.
        """
        return None

    def scores(self, outputs: Tensor) -> Tensor:
        """Return class scores ``[batch, num_classes]``; their argmax is the prediction."""
        return outputs
