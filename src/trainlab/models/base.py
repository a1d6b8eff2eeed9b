"""What every model offers to the training loop."""

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


FilterSize = Annotated[int, Field(ge=1), AfterValidator(_odd)]  # of a convolution that keeps the images' size


class Network(nn.Module):
    """A network split in two: ``features`` of the images, and ``head``, the last linear layer, on top of them."""

    head: nn.Linear

    def features(self, images: Tensor) -> Tensor:
        """Features ``[batch, head.in_features]`` of normalized images ``[batch, channels, height, width]``."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs ``[batch, num_outputs]``."""
        outputs: Tensor = self.head(self.features(images))
        return outputs


class Model(Component):
    """An architecture: its parameters, and how to build it.

    Parameters
    ----------
    initializer
        How the weights start; torch's own way where none is named.
    """

    initializer: Initializer | None = None

    @property
    def has_head(self) -> bool:
        """Whether the network ends in a linear layer, ``head``, on top of ``features``: some objectives need it."""
        return True

    def build(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """A new network with weights drawn from torch's global generator.

        Parameters
        ----------
        in_shape
            ``(channels, height, width)`` of one image.
        num_outputs
            Size of the last layer's output, ≥ 1.

        Raises
        ------
        ValueError
            Where the images are too small for the architecture.
        """
        net = self.network(in_shape, num_outputs)
        if self.initializer is not None:
            self.initializer.apply(net)
        return net

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """The network with torch's own initial weights; each architecture's file defines it."""
        raise NotImplementedError
