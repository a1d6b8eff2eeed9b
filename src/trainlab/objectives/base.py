"""What every training objective offers to the training loop."""

from typing import ClassVar

from torch import Generator, Tensor, nn

from trainlab.component import Component

Draws = dict[str, Tensor]
Logs = dict[str, Tensor]


class Objective(Component):
    """A training objective: its parameters, its random draws and its loss.

    Randomness is drawn apart from the loss, so that the loss is a pure function of tensors: it can be differentiated,
    enumerated in a test, compiled or captured in a CUDA graph.

    Attributes
    ----------
    needs_head
        Whether it computes only part of the last layer: it then is trained by :meth:`loss_from_features`, and the model
        needs a linear ``head``.
    needs_teacher
        Whether its loss takes one argument more, ``teacher_outputs``: class scores ``[batch, num_classes]`` of another
        run's model for the same images. Such a run stands under `students` in params.yaml.
    """

    needs_head: ClassVar[bool] = False
    needs_teacher: ClassVar[bool] = False

    def num_outputs(self, num_classes: int) -> int:
        """How many outputs the model needs; more than the classes where something else is predicted too."""
        return num_classes

    def draw(self, batch: int, num_classes: int, *, generator: Generator) -> Draws:
        """Every random number of one step, as tensors on the generator's device."""
        return {}

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        """The scalar to minimize, a mean over the batch, and named numbers to log (scalars, still on the device)."""
        raise NotImplementedError

    def loss_from_features(
        self, features: Tensor, head: nn.Linear, labels: Tensor, draws: Draws
    ) -> tuple[Tensor, Logs]:
        """The same from the input of the last layer, ``[batch, head.in_features]``, where `needs_head` says so."""
        raise NotImplementedError

    def scores(self, outputs: Tensor) -> Tensor:
        """Class scores ``[batch, num_classes]`` whose argmax is the prediction."""
        return outputs
