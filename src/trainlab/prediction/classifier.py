"""A trained model that predicts the classes of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from trainlab.data.stored import Dataset
from trainlab.errors import UserError
from trainlab.evaluation.calibration import probabilities
from trainlab.prediction.images import Decoder, Picture, shown
from trainlab.training import devices, model_file
from trainlab.training.model_file import TrainedModel

LONGEST = 200  # characters of another library's message


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model predicts for some images.

    Parameters
    ----------
    classes
        The names of the model's classes.
    probabilities
        Of each class, in the order of ``classes``: mean over the replicas of the softmax of their scores,
        ``[images, classes]``, float64. They sum to 1, whatever the image shows.
    disagreement
        Fraction of the replicas whose most probable class is not the most probable class of ``probabilities``, in [0, 1],
        ``[images]``; NaN for a model with a single replica.
    """

    classes: list[str]
    probabilities: NDArray[np.float64]
    disagreement: NDArray[np.float64]

    @property
    def labels(self) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[best] for best in self.probabilities.argmax(1)]

    def top(self, count: int) -> list[list[tuple[str, float]]]:
        """Return the most probable classes of each image with their probabilities, the most probable one first.

        Parameters
        ----------
        count
            Number of classes per image; all classes if there are fewer.
        """
        best = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :count]
        return [
            [(self.classes[index], float(shares[index])) for index in order]
            for shares, order in zip(self.probabilities, best, strict=True)
        ]


class Classifier:
    """A trained run that predicts: all of its replicas, and how its images were prepared.

    Parameters
    ----------
    model
        The model.
    device
        `auto` (a GPU if there is one), `cpu` or `cuda`.
    """

    def __init__(self, model: TrainedModel, device: str = "auto") -> None:
        self.model = model
        self.device = device
        self.decoder = Decoder(model.shape)

    @property
    def replicas(self) -> int:
        """Number of replicas."""
        return len(self.model.weights)

    def predict(self, images: NDArray[np.uint8] | Picture | Sequence[Picture]) -> Prediction:
        """Predict the classes of images, which are scaled and cropped like those of the source `folder`.

        Parameters
        ----------
        images
            An array ``[n, height, width, 3]``, uint8, or one or several images as paths, images of Pillow, or contents of
            image files.

        Returns
        -------
        Prediction
            In the order of the images.

        Raises
        ------
        UserError
            If an image cannot be read or decoded.
        ValueError
            If an array has another shape or type.
        """
        if not isinstance(images, np.ndarray):
            images = self._decoded([images] if isinstance(images, Picture) else images)
        scores = self._scores(self.decoder.scale(images))
        shares = probabilities(scores)
        mean: NDArray[np.float64] = shares.mean(0)
        others = (shares.argmax(2) != mean.argmax(1)).mean(0)
        disagreement = others if self.replicas > 1 else np.full(len(images), np.nan)
        return Prediction(self.model.classes, mean, disagreement)

    def _decoded(self, pictures: Sequence[Picture]) -> NDArray[np.uint8]:
        pixels = np.empty((len(pictures), self.decoder.height, self.decoder.width, 3), np.uint8)
        for position, decoded in enumerate(self.decoder.decode_all(pictures)):
            if isinstance(decoded, UserError):
                picture = pictures[position]
                name = shown(str(picture)) if isinstance(picture, str | Path) else f"image {position}"
                raise UserError(f"{name} {decoded}") from decoded
            pixels[position] = decoded
        return pixels

    def _scores(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the class scores of images in the model's size, ``[replicas, images, classes]``."""
        model, count = self.model, len(pixels)
        if not count:
            return np.empty((self.replicas, 0, len(model.classes)), np.float32)
        images = Dataset(
            np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)),
            np.zeros(count, np.int64),  # no labels are needed
            model.classes,
            model.mean,
            model.std,
            model.mean_image,
        )
        threads = torch.get_num_threads()  # scoring sets those of the run, which decide the last bits
        try:
            with torch.random.fork_rng(devices=[]):  # building a network draws initial weights
                scores: NDArray[np.float32] = model.scores(images, device=self.device)
        finally:
            torch.set_num_threads(threads)
        return scores


def load(path: Path, device: str = "auto", *, otherwise: str = "name another file") -> Classifier:
    """Read a model file, which is enough to predict.

    Parameters
    ----------
    path
        The file.
    device
        `auto` (a GPU if there is one), `cpu` or `cuda`.
    otherwise
        The next step in the message about a file that cannot be used.

    Raises
    ------
    UserError
        If the file is missing, damaged, or not a model file of trainlab; or if the device is `cuda` and there is no GPU.
    """
    devices.choose(device)
    name = shown(str(path))
    if not path.is_file():
        raise UserError(f"{name} is {'not a file' if path.exists() else 'missing'}: {otherwise}")
    try:
        classifier = Classifier(model_file.load(path), device)
        classifier.predict(np.zeros((1, *np.roll(classifier.model.shape, -1)), np.uint8))  # its parts fit together
    except OSError:
        raise
    except Exception as error:  # damaged or foreign content causes many types of errors
        cause = error.__cause__
        if isinstance(cause, ValidationError) and cause.errors()[0]["loc"]:
            raise  # one key of the configuration is that of another version, and the message says so
        reason = " ".join(str(cause or error).split())[:LONGEST]
        raise UserError(f"{name} is damaged or not a model file of trainlab ({reason}): {otherwise}") from error
    return classifier
