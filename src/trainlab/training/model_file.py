"""A trained run as one file that is enough to predict."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainlab import config as configs
from trainlab.config.schema import RunConfig
from trainlab.data.batches import Batches
from trainlab.data.stored import Dataset
from trainlab.errors import UserError
from trainlab.files import read_tensors, reading, write_tensors
from trainlab.training import devices
from trainlab.training.inference import outputs_of

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class TrainedModel:
    """The trained models of one run, one per replica, with everything that prediction needs.

    Parameters
    ----------
    config
        The run's configuration.
    weights
        Parameters and buffers by name, one mapping per replica.
    shape
        ``(channels, height, width)`` of the training images.
    classes
        Class names in the order of the scores.
    mean, std
        Of the training images, per channel, in [0, 1].
    mean_image
        Of the training images, ``[channels, height, width]`` in [0, 1]. The file holds it only if the inputs need it.
    trained_on
        What :func:`trainlab.training.devices.describe` returned: ``device``, ``cpu_capability``, ``threads``, ``torch``,
        ``precision``.
    """

    config: RunConfig
    weights: list[Weights]
    shape: tuple[int, int, int]
    classes: list[str]
    mean: list[float]
    std: list[float]
    mean_image: np.ndarray
    trained_on: dict[str, Any]

    @classmethod
    def of(
        cls, config: RunConfig, images: Dataset, weights: list[Weights], trained_on: dict[str, Any]
    ) -> "TrainedModel":
        """Return the model of a run that was trained on these images."""
        return cls(
            config, weights, images.shape, images.classes, images.mean, images.std, images.mean_image, trained_on
        )

    def scores(self, images: Dataset, *, device: str | None = None) -> np.ndarray:
        """Return class scores of images, computed in float32 whatever the precision of training.

        Parameters
        ----------
        images
            Images of the size and with the classes of training. Their statistics are not used: the inputs are prepared as
            in training.
        device
            Overrides the configuration's.

        Returns
        -------
        numpy.ndarray
            float32, ``[replicas, images, classes]``.

        Raises
        ------
        UserError
            If the size or the classes of the images differ from those of training.
        """
        if images.shape != self.shape or images.classes != self.classes:
            raise UserError(
                f"the model of run {self.config.run} was trained on {len(self.classes)} classes of images {self.shape}, and"
                f" these are {len(images.classes)} classes of images {images.shape}: run `dvc repro` to train it"
                f" on these"
            )
        place = devices.prepare(device or self.config.device, self.config.threads)
        same_inputs = replace(images, mean=self.mean, std=self.std, mean_image=self.mean_image)
        batches = Batches(same_inputs, inputs=self.config.inputs, device=place)
        objective = self.config.objective
        scores = []
        for weights in self.weights:
            net = self.config.model.build(self.shape, objective.num_outputs(len(self.classes)))
            net.load_state_dict(weights)
            net = net.to(place, memory_format=torch.channels_last)
            scores.append(objective.scores(outputs_of(net, batches, self.config.views)).cpu())
        return torch.stack(scores).numpy()

    def describe(self) -> str:
        """Return the device that it was trained on, in words."""
        on = self.trained_on
        if on["device"] != "cpu":
            return str(on["device"])
        return f"CPU ({on['cpu_capability']}), {on['threads']} thread{'s' if on['threads'] > 1 else ''}"

    def save(self, path: Path) -> None:
        """Write the model file: tensors named ``REPLICA.PARAMETER``. The same model gives the same bytes."""
        tensors = {
            f"{replica}.{name}": tensor.numpy()
            for replica, named in enumerate(self.weights)
            for name, tensor in named.items()
        }
        if self.config.inputs == "mean_image":
            tensors["mean_image"] = self.mean_image
        record = {
            "config": self.config.to_dict(),
            "shape": list(self.shape),
            "classes": self.classes,
            "mean": self.mean,
            "std": self.std,
            "trained_on": self.trained_on,
        }
        write_tensors(path, tensors, record)


def load(path: Path) -> TrainedModel:
    """Read a model file.

    Raises
    ------
    UserError
        If the file is missing, damaged, or not a model file of trainlab.
    """
    with reading(path, f"train@{path.stem}` or `distill@{path.stem}"):
        tensors, record = read_tensors(path)
        if not record:
            raise ValueError("it is not a model file of trainlab")
        shape = tuple(record["shape"])
        mean_image = tensors.pop("mean_image", np.zeros(shape, np.float32))
        return TrainedModel(
            configs.from_dict(record["config"], str(path)),
            _by_replica(tensors),
            shape,
            record["classes"],
            record["mean"],
            record["std"],
            mean_image,
            record["trained_on"],
        )


def _by_replica(tensors: dict[str, np.ndarray]) -> list[Weights]:
    """Return the weights of each replica, from tensors named ``REPLICA.PARAMETER``."""
    weights: dict[int, Weights] = {}
    for name, array in tensors.items():
        replica, _, parameter = name.partition(".")
        weights.setdefault(int(replica), {})[parameter] = torch.from_numpy(array)
    return [weights[replica] for replica in range(len(weights))]
