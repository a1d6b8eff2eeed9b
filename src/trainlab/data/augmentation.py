"""Random transformations of the training images, selected by name in the list `augmentation:`.

Images are floats ``[batch, channels, height, width]``, channels last, after normalization. The random draws are independent
per image; a whole batch is transformed at once, on its device.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from trainlab.component import Component, Size, one_of
from trainlab.errors import UserError

Draws = dict[str, Tensor]


class _Augmentation(Component):
    """Base class: draw the random numbers, then transform the images."""

    def start(self, images: int, *, generator: Generator) -> Draws:
        """Return what is drawn once, before the first epoch: tensors with one row per training image; by default none."""
        return {}

    def apply(self, images: Tensor, *, generator: Generator, own: Draws, epoch: int) -> Tensor:
        """Return randomly transformed images, channels last; ``images`` is not modified.

        Parameters
        ----------
        images
            ``[batch, channels, height, width]``, float, channels last.
        generator
            Source of the random draws, on the images' device.
        own
            What :meth:`start` drew for these images, one row per image.
        epoch
            Number of the epoch, from 1.
        """
        return self.change(images, self.draw(images.shape, generator=generator))

    def draw(self, shape: torch.Size, *, generator: Generator) -> Draws:
        """Return all random numbers for images of this shape, one row per image."""
        raise NotImplementedError

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the images transformed by these draws."""
        raise NotImplementedError


class Flip(_Augmentation):
    """Mirror each image left to right with probability 0.5."""

    name: Literal["flip"]

    def draw(self, shape: torch.Size, *, generator: Generator) -> Draws:
        """Return ``flip``: whether to mirror each image, ``[batch]``, bool."""
        return {"flip": torch.rand(shape[0], device=generator.device, generator=generator) < 0.5}

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the images, mirrored where ``flip`` is true."""
        return _mirrored(images, draws["flip"])


class AlternatingFlip(_Augmentation):
    """Mirror each image left to right in every other epoch: half of the images in odd epochs, the others in even ones.

    Which half is drawn before the first epoch. Two successive epochs show each image in both orientations, whereas random
    flips show half of the images twice in the same one.

    References
    ----------
    Jordan 2024, *94% on CIFAR-10 in 3.29 Seconds on a Single GPU*, section 3.6.
    """

    name: Literal["alternating_flip"]

    def start(self, images: int, *, generator: Generator) -> Draws:
        """Return ``flip``: whether to mirror each image in odd epochs, ``[images]``, bool."""
        return {"flip": torch.rand(images, device=generator.device, generator=generator) < 0.5}

    def apply(self, images: Tensor, *, generator: Generator, own: Draws, epoch: int) -> Tensor:
        """Return the images, half of them mirrored; nothing is drawn."""
        return _mirrored(images, own["flip"] if epoch % 2 else ~own["flip"])


class Crop(_Augmentation):
    """Shift each image by up to `padding` pixels in both directions; all shifts are equally likely.

    This is a crop of the original size from the image padded on all sides. The image is padded with its own reflection
    (without repeating the border), as in airbench. Padding with zeros would look different under each kind of `inputs`.

    Parameters
    ----------
    padding
        Pixels, at least 1 and less than the images' height and width.

    References
    ----------
    He et al. 2016, *Deep Residual Learning for Image Recognition*, section 4.2 (with zeros); Jordan 2024, *94% on CIFAR-10
    in 3.29 Seconds on a Single GPU* (with reflections).
    """

    name: Literal["crop"]
    padding: Size

    def draw(self, shape: torch.Size, *, generator: Generator) -> Draws:
        """Return ``top`` and ``left``: the crop's corner in the padded image, ``[batch]``, int64, 0 to 2 · padding."""
        return {side: _below(2 * self.padding + 1, shape[0], generator) for side in ("top", "left")}

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the crops.

        Raises
        ------
        UserError
            If the padding is not less than the images' height and width.
        """
        batch, channels, height, width = images.shape
        if self.padding >= min(height, width):
            raise UserError(
                f"augmentation crop: padding is {self.padding}; for images of {height}×{width} pixels it must be at"
                f" most {min(height, width) - 1}"
            )
        device = images.device
        columns = _reflected(torch.arange(-self.padding, width + self.padding, device=device), width)
        rows = _reflected(
            torch.arange(-self.padding, height - self.padding, device=device) + draws["top"][:, None], height
        )
        # In channels-last memory a row of a crop is contiguous: make a view of all possible rows, then one gather.
        padded = images.permute(0, 2, 3, 1).index_select(2, columns).view(batch, height, -1)
        stretches = padded.unfold(2, width * channels, channels)  # [batch, height, 2 · padding + 1, width · channels]
        which = torch.arange(batch, device=device)[:, None]
        crops = stretches[which, rows, draws["left"][:, None]]
        return crops.view(batch, height, width, channels).permute(0, 3, 1, 2)


class Cutout(_Augmentation):
    """Set a square around a random pixel of each image to 0; the square is clipped at the image border.

    0 is the mean of standardized and mean-subtracted inputs, and black in raw inputs.

    Parameters
    ----------
    size
        Side length of the square in pixels, at least 1. If it is even, the centre is the pixel right of and below the
        middle.

    References
    ----------
    DeVries and Taylor 2017, *Improved Regularization of Convolutional Neural Networks with Cutout*, section 3.2.
    """

    name: Literal["cutout"]
    size: Size

    def draw(self, shape: torch.Size, *, generator: Generator) -> Draws:
        """Return ``row`` and ``column`` of the centre: ``[batch]``, int64, uniform over the image's pixels."""
        batch, _, height, width = shape
        return {"row": _below(height, batch, generator), "column": _below(width, batch, generator)}

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the images with the squares set to 0.

        Raises
        ------
        UserError
            If the square is larger than the images.
        """
        height, width = images.shape[2:]
        if self.size > max(height, width):
            raise UserError(
                f"augmentation cutout: size is {self.size}; for images of {height}×{width} pixels it must be at most"
                f" {max(height, width)}"
            )
        rows = self._covered(height, draws["row"])[:, None, :, None]
        columns = self._covered(width, draws["column"])[:, None, None, :]
        return images.clone().masked_fill_(rows & columns, 0)  # out of place, the result would not be channels last

    def _covered(self, length: int, centre: Tensor) -> Tensor:
        """Return which of ``length`` rows (or columns) the square covers: ``[batch, length]``, bool."""
        offset = torch.arange(length, device=centre.device) - (centre[:, None] - self.size // 2)
        return (offset >= 0) & (offset < self.size)


def _mirrored(images: Tensor, flip: Tensor) -> Tensor:
    """Return the images, mirrored left to right where ``flip``, ``[batch]``, is true."""
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def _below(limit: int, count: int, generator: Generator) -> Tensor:
    """Return ``count`` integers drawn uniformly from 0 to ``limit`` − 1."""
    return torch.randint(limit, (count,), device=generator.device, generator=generator)


def _reflected(position: Tensor, length: int) -> Tensor:
    """Return positions mirrored at 0 and ``length`` − 1; positions inside are unchanged."""
    return length - 1 - (length - 1 - position.abs()).abs()


Augmentation = one_of(Flip, Crop, Cutout, AlternatingFlip)
