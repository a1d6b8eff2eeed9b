"""The interface between a model and the training loop."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from trainlab.component import Component
from trainlab.initializers import Initializer


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise PydanticCustomError("even", "it must be odd, so that padding can keep the size")
    return size


FilterSize = Annotated[int, Field(ge=1, le=1023), AfterValidator(_odd)]  # of a convolution that keeps the images' size


def check_filter(size: int, height: int, width: int) -> None:
    """Raise a ValueError if a filter is so large that it covers nothing but padding at its ends, wherever it lies.

    Parameters
    ----------
    size
        Height and width of the filter in pixels.
    height, width
        Of the images.
    """
    most = 2 * max(height, width) - 1
    if size > most:
        raise ValueError(f"filter_size is {size}, and for images of {height}×{width} pixels it must be at most {most}")


class Network(nn.Module):
    """A network in two parts: ``features`` of the images, and ``head``, the last linear layer."""

    head: nn.Linear

    def start(self, training_images: Callable[[int], Tensor]) -> None:
        """Prepare the network before the first step of training; by default nothing is done.

        Parameters
        ----------
        training_images
            Returns up to so many training images, spread over all of them: ``[images, channels, height, width]``, normalized
            and without augmentation.
        """

    def features(self, images: Tensor) -> Tensor:
        """Return features ``[batch, head.in_features]`` of normalized images ``[batch, channels, height, width]``."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs ``[batch, num_outputs]``."""
        outputs: Tensor = self.head(self.features(images))
        return outputs


class Model(Component):
    """An architecture: its hyperparameters, and how to build it.

    Parameters
    ----------
    initializer
        Initializer of the weights; none for torch's own initial weights.
    """

    initializer: Initializer | None = None

    @property
    def has_head(self) -> bool:
        """Whether the network ends in a linear layer ``head``, which some objectives need."""
        return True

    def build(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """Return a new network with weights drawn from torch's global generator.

        Parameters
        ----------
        in_shape
            ``(channels, height, width)`` of one image.
        num_outputs
            Number of outputs of the last layer, ≥ 1.

        Raises
        ------
        ValueError
            If the images are too small for the architecture.
        """
        net = self.network(in_shape, num_outputs)
        if self.initializer is not None:
            self.initializer.apply(net)
        return net

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """Return the network with torch's own initial weights; each architecture implements it."""
        raise NotImplementedError
