"""A trained run as one file that is enough to predict."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from torch import Tensor, nn

from trainlab import config as configs
from trainlab.config.schema import RunConfig
from trainlab.data.batches import Batches
from trainlab.data.stored import Dataset
from trainlab.errors import UserError
from trainlab.files import digest, read_tensors, reading, write_tensors
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
        objective, threads = self.config.objective, self.config.threads
        nets = []
        for weights in self.weights:
            net = self.config.model.build(self.shape, objective.num_outputs(len(self.classes)))
            net.load_state_dict(weights)
            nets.append(net.to(place, memory_format=torch.channels_last))

        def scored(net: nn.Module) -> Tensor:
            found: Tensor = objective.scores(outputs_of(net, batches, self.config.views))
            return found.cpu()

        # Side by side: each replica computes with its own threads, so that their number changes no bit.
        count = devices.workers(len(nets), threads, place)
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
            return torch.stack(list(pool.map(scored, nets))).numpy()

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
        write_tensors(path, tensors, {**record, "digest": digest(tensors, record)})


class _Device(BaseModel):
    """What :func:`trainlab.training.devices.describe` returns."""

    model_config = ConfigDict(strict=True, extra="forbid")

    device: str
    cpu_capability: str
    threads: int = Field(ge=1)
    torch: str
    precision: Literal["float32", "tf32", "bfloat16"]


class _Record(BaseModel):
    """The record of a model file, which anyone may have written."""

    model_config = ConfigDict(strict=True, extra="forbid")

    config: dict[str, Any]
    shape: list[Annotated[int, Field(ge=1)]] = Field(min_length=3, max_length=3)
    classes: list[str] = Field(min_length=1)
    mean: list[FiniteFloat]
    std: list[FiniteFloat]
    trained_on: _Device
    digest: str = ""  # files of version 0.2 and before have none

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if not len(self.mean) == len(self.std) == self.shape[0]:
            raise ValueError(
                f"mean and std have {len(self.mean)} and {len(self.std)} values for {self.shape[0]} channels"
            )
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have the same name")
        return self


def load(path: Path) -> TrainedModel:
    """Read a model file.

    Raises
    ------
    UserError
        If the file is missing, damaged, or not a model file of trainlab.
    """
    with reading(path, f"train@{path.stem}` or `distill@{path.stem}"):
        tensors, content = read_tensors(path)
        if not content:
            raise ValueError("it is not a model file of trainlab")
        record = _record(content)
        if record.digest and record.digest != digest(tensors, content):
            raise ValueError("its content changed after it was written")
        channels, height, width = record.shape
        shape = (channels, height, width)
        config = configs.from_dict(record.config, str(path))
        mean_image = tensors.pop("mean_image", np.zeros(shape, np.float32))
        if mean_image.shape != shape or mean_image.dtype != np.float32:
            raise ValueError(f"mean_image is {mean_image.dtype}, {mean_image.shape}")
        weights = _by_replica(tensors)
        _check_weights(config, shape, len(record.classes), weights)
        trained_on = record.trained_on.model_dump()
        return TrainedModel(config, weights, shape, record.classes, record.mean, record.std, mean_image, trained_on)


def _record(content: dict[str, Any]) -> _Record:
    try:
        return _Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"its record is wrong: {place}{': ' * bool(place)}{first['msg']}") from error


def check_run(model: TrainedModel, config: RunConfig, path: Path) -> None:
    """Raise an error if a model is not that of a run.

    Parameters
    ----------
    model
        What ``path`` contains.
    config
        The run's resolved configuration.
    path
        The file that is named in the error.

    Raises
    ------
    UserError
        If the model has another configuration. The message names the keys that differ.
    """
    has, wanted = model.config.to_dict(), config.to_dict()
    # A change of the code that changes no byte is adopted without training: the model then names the old code.
    differing = [key for key in {**wanted, **has} if key != "code" and has.get(key) != wanted.get(key)]
    if differing:
        stage = "distill" if config.teacher else "train"
        raise UserError(
            f"{path} is not the model of the run {config.run} as it is configured now (it differs in"
            f" {', '.join(differing)}): run `dvc repro {stage}@{config.run}`"
        )


def _by_replica(tensors: dict[str, np.ndarray]) -> list[Weights]:
    """Return the weights of each replica, from tensors named ``REPLICA.PARAMETER``."""
    weights: dict[int, Weights] = {}
    for name, array in tensors.items():
        replica, _, parameter = name.partition(".")
        weights.setdefault(int(replica), {})[parameter] = torch.from_numpy(array)
    return [weights[replica] for replica in range(len(weights))]


def _check_weights(config: RunConfig, shape: tuple[int, int, int], num_classes: int, weights: list[Weights]) -> None:
    """Raise a ValueError unless these are weights of the run's model."""
    if len(weights) != config.replicas:
        raise ValueError(f"it has {len(weights)} of {config.replicas} replicas")
    with torch.device("meta"):  # shapes alone, nothing is allocated
        net = config.model.build(shape, config.objective.num_outputs(num_classes))
    wanted = net.state_dict()
    for replica, named in enumerate(weights):
        if named.keys() != wanted.keys():
            raise ValueError(
                f"replica {replica} has other tensors than its model: {sorted(named.keys() ^ wanted.keys())[0]}"
            )
        for name, tensor in named.items():
            if (tensor.shape, tensor.dtype) != (wanted[name].shape, wanted[name].dtype):
                raise ValueError(
                    f"{replica}.{name} is {tensor.dtype}, {list(tensor.shape)}, and not {wanted[name].dtype},"
                    f" {list(wanted[name].shape)}"
                )
