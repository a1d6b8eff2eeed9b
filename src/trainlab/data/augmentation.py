"""Random changes to the training images that leave their class: one small class each, named in the list `augmentation:`.

Images are floats ``[batch, channels, height, width]``, channels last, already scaled as the model sees them. Every image has
chances of its own, and all of a batch are changed at once, on the device where they are.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from trainlab.component import Component, one_of
from trainlab.errors import UserError

Draws = dict[str, Tensor]


class _Augmentation(Component):
    def apply(self, images: Tensor, *, generator: Generator) -> Tensor:
        """The images changed at random, channels last; ``images`` stay as they are.

        Parameters
        ----------
        images
            ``[batch, channels, height, width]``, float, channels last.
        generator
            On the images' device.
        """
        return self.change(images, self.draw(images.shape, generator=generator))

    def draw(self, shape: torch.Size, *, generator: Generator) -> Draws:
        """Every random number for images of this shape, one row an image."""
        raise NotImplementedError

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        """The images as these draws want them."""
        raise NotImplementedError


class Flip(_Augmentation):
    """Mirror half of the images, left to right."""

    name: Literal["flip"]

    def draw(self, shape: torch.Size, *, generator: Generator) -> Draws:
        """``flip``: ``[batch]``, bool."""
        return {"flip": torch.rand(shape[0], device=generator.device, generator=generator) < 0.5}

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        return torch.where(draws["flip"][:, None, None, None], images.flip(3), images)


class Crop(_Augmentation):
    """Shift each image by up to `padding` pixels in both directions, every shift equally likely.

    That is a crop of the original size from the image padded on all sides. The padding is the image's own reflection (the
    border itself not repeated) as in airbench, and not black, so that it looks the same under every kind of `inputs`.

    Parameters
    ----------
    padding
        In pixels; at least 1, and less than the images' height and width.

    References
    ----------
    He et al. 2016, *Deep Residual Learning for Image Recognition*, section 4.2 (with zeros); Jordan 2024, *94% on CIFAR-10
    in 3.29 Seconds on a Single GPU* (with reflections).
    """

    name: Literal["crop"]
    padding: int = Field(ge=1)

    def draw(self, shape: torch.Size, *, generator: Generator) -> Draws:
        """``top`` and ``left``: ``[batch]``, the crop's corner in the padded image, from 0 to 2 · padding."""
        return {side: _below(2 * self.padding + 1, shape[0], generator) for side in ("top", "left")}

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        batch, channels, height, width = images.shape
        if self.padding >= min(height, width):
            raise UserError(
                f"augmentation crop: padding is {self.padding}, and images of {height}×{width} pixels have no more than"
                f" {min(height, width) - 1} to reflect; lower padding"
            )
        device = images.device
        columns = _reflected(torch.arange(-self.padding, width + self.padding, device=device), width)
        rows = _reflected(
            torch.arange(-self.padding, height - self.padding, device=device) + draws["top"][:, None], height
        )
        # In channels-last memory a row of a crop is one stretch: a view of all stretches, and one gather of whole rows.
        padded = images.permute(0, 2, 3, 1).index_select(2, columns).view(batch, height, -1)
        stretches = padded.unfold(2, width * channels, channels)  # [batch, height, 2 · padding + 1, width · channels]
        which = torch.arange(batch, device=device)[:, None]
        crops = stretches[which, rows, draws["left"][:, None]]
        return crops.view(batch, height, width, channels).permute(0, 3, 1, 2)


class Cutout(_Augmentation):
    """Set a square to 0 around a random pixel of each image; what lies outside of the image is cut off.

    0 is the mean in standardized and mean-free inputs, and black in raw ones.

    Parameters
    ----------
    size
        The square's side in pixels, at least 1; of an even size, the centre is the pixel right of and below the middle.

    References
    ----------
    DeVries and Taylor 2017, *Improved Regularization of Convolutional Neural Networks with Cutout*, section 3.2.
    """

    name: Literal["cutout"]
    size: int = Field(ge=1)

    def draw(self, shape: torch.Size, *, generator: Generator) -> Draws:
        """``row`` and ``column`` of the centre: ``[batch]``, uniform over the image's pixels."""
        batch, _, height, width = shape
        return {"row": _below(height, batch, generator), "column": _below(width, batch, generator)}

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        height, width = images.shape[2:]
        rows = self._covered(height, draws["row"])[:, None, :, None]
        columns = self._covered(width, draws["column"])[:, None, None, :]
        return images.clone().masked_fill_(rows & columns, 0)  # without the clone, memory is channels first

    def _covered(self, length: int, centre: Tensor) -> Tensor:
        """Which of ``length`` rows (or columns) the square covers: ``[batch, length]``."""
        offset = torch.arange(length, device=centre.device) - (centre[:, None] - self.size // 2)
        return (offset >= 0) & (offset < self.size)


def _below(limit: int, count: int, generator: Generator) -> Tensor:
    """``count`` whole numbers from 0 to ``limit`` − 1, each equally likely."""
    return torch.randint(limit, (count,), device=generator.device, generator=generator)


def _reflected(position: Tensor, length: int) -> Tensor:
    """Positions just outside of 0 … length − 1, mirrored at the first and the last one."""
    return length - 1 - (length - 1 - position.abs()).abs()


Augmentation = one_of(Flip, Crop, Cutout)
