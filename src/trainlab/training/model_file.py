"""A trained run as one file that is enough to predict, and back."""

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

import trainlab
from trainlab.data.batches import Batches
from trainlab.data.stored import Dataset
from trainlab.errors import UserError
from trainlab.files import written_whole
from trainlab.training import devices
from trainlab.training.inference import outputs_of

if TYPE_CHECKING:
    from trainlab.config import RunConfig

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class TrainedModel:
    """The models of one run, one a replica, with all that is needed to predict.

    Parameters
    ----------
    config
        The run's configuration.
    weights
        Tensors by name, one mapping a replica.
    shape
        ``(channels, height, width)`` of the images that it was trained on.
    classes
        Class names in the order of the scores.
    mean, std
        Of the training images, per channel, in [0, 1].
    mean_image
        Of the training images, ``[channels, height, width]`` in [0, 1]; kept in the file where the inputs need it.
    trained_on
        Device, CPU capability, threads, version of torch.
    """

    config: "RunConfig"
    weights: list[Weights]
    shape: tuple[int, int, int]
    classes: list[str]
    mean: list[float]
    std: list[float]
    mean_image: np.ndarray
    trained_on: dict[str, Any]

    @classmethod
    def of(
        cls, config: "RunConfig", images: Dataset, weights: list[Weights], trained_on: dict[str, Any]
    ) -> "TrainedModel":
        """A model just trained on these images."""
        _, channels, height, width = images.images.shape
        shape = (channels, height, width)
        return cls(config, weights, shape, images.classes, images.mean, images.std, images.mean_image, trained_on)

    def scores(self, images: Dataset, *, device: str | None = None) -> np.ndarray:
        """Class scores of images.

        Parameters
        ----------
        images
            Of the size, and with the classes, that the model was trained on. Its statistics are not used: the inputs are
            prepared as they were in training.
        device
            In place of the configuration's.

        Returns
        -------
        numpy.ndarray
            float32, ``[replicas, images, classes]``.

        Raises
        ------
        UserError
            Where images or classes are others than those in training.
        """
        if images.images.shape[1:] != self.shape or images.classes != self.classes:
            raise UserError(
                f"the model of run {self.config.run} knows {len(self.classes)} classes of images {self.shape}, and was given"
                f" {len(images.classes)} classes of images {images.images.shape[1:]}: run `dvc repro` so that it is trained"
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
            scores.append(objective.scores(outputs_of(net, batches, precision=self.config.precision)).cpu())
        return torch.stack(scores).numpy()

    def describe(self) -> str:
        """Where it was trained, in words."""
        on = self.trained_on
        if on["device"] != "cpu":
            return str(on["device"])
        return f"CPU ({on['cpu_capability']}), {on['threads']} thread{'s' if on['threads'] > 1 else ''}"

    def save(self, path: Path) -> None:
        """Write the model file: safetensors named ``REPLICA.PARAMETER``, the same bytes for the same model."""
        tensors = {
            f"{replica}.{name}": tensor for replica, named in enumerate(self.weights) for name, tensor in named.items()
        }
        if self.config.inputs == "mean_image":
            tensors["mean_image"] = torch.from_numpy(self.mean_image)
        record = {
            "config": self.config.to_dict(),
            "shape": list(self.shape),
            "classes": self.classes,
            "mean": self.mean,
            "std": self.std,
            "trained_on": self.trained_on,
            "trainlab": trainlab.__version__,
        }
        # One key, because safetensors writes several in random order; as bytes, because its own writer hides a full disk.
        metadata = {"trainlab": json.dumps(record, sort_keys=True, ensure_ascii=False)}
        with written_whole(path) as aside:
            aside.write_bytes(safetensors.torch.save(tensors, metadata))


def load(path: Path) -> TrainedModel:
    """Read a model file.

    Raises
    ------
    UserError
        Where the file is missing, damaged, or not one of trainlab's.
    """
    from trainlab import config  # here: it gathers every part there is, and training needs none of that

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["trainlab"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            mean_image = tensors.pop("mean_image", torch.zeros(record["shape"])).numpy()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: train it with `dvc repro`, or fetch it with `dvc pull`") from None
    except (safetensors.SafetensorError, KeyError, ValueError, struct.error) as error:
        raise UserError(f"{path} is not a model file of trainlab ({error}): delete it, then run `dvc repro`") from error
    weights: list[Weights] = []
    for name, tensor in sorted(tensors.items(), key=lambda item: int(item[0].partition(".")[0])):
        replica, _, parameter = name.partition(".")
        if int(replica) == len(weights):
            weights.append({})
        weights[int(replica)][parameter] = tensor
    return TrainedModel(
        config.from_dict(record["config"], str(path)),
        weights,
        tuple(record["shape"]),
        record["classes"],
        record["mean"],
        record["std"],
        mean_image,
        record["trained_on"],
    )
