"""What params.yaml may contain: the keys of a run and of its checks, with their types and ranges."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Annotated, Any, Literal, Self, get_origin

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

import trainlab.models
import trainlab.objectives
from trainlab.component import Component, Count, Positive, Rate, Strict, one_of
from trainlab.config import reading
from trainlab.config.messages import TOGETHER
from trainlab.config.names import MAX_NAME, NAME
from trainlab.data.augmentation import Augmentation
from trainlab.models.base import Model
from trainlab.objectives.base import Objective
from trainlab.optimizers import Optimizer
from trainlab.regularizers import Regularizer
from trainlab.schedules import Schedule


def _collect(package: ModuleType, base: type[Component]) -> Any:
    """Return the type of a block that may be any component defined in one of the package's files."""
    names = [found.name for found in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    classes = [cls for module in modules for cls in vars(module).values() if isinstance(cls, type)]
    components = [
        cls for cls in classes if issubclass(cls, base) and get_origin(cls.model_fields["name"].annotation) is Literal
    ]
    return one_of(*dict.fromkeys(components))


AnyModel: Any = _collect(trainlab.models, Model)
AnyObjective: Any = _collect(trainlab.objectives, Objective)


# They become parts of paths, so that they are checked wherever a configuration comes from, model files included.
Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$", max_length=MAX_NAME)]
NoName = Annotated[str, Field(pattern=f"^({NAME.pattern})?$", max_length=MAX_NAME)]


class RunConfig(Strict):
    """Everything that determines a run's result: written to `configs/SUITE/RUN.yaml` and into the model file.

    A default always means that the feature is absent (0, false, an empty string or list), and :meth:`to_dict` leaves
    such keys out: a new key with such a default changes no existing configuration.

    Parameters
    ----------
    run, suite
        Name of the run, and of the suite in which it is compared: lower-case letters, digits and underscores, a letter
        first, at most 64 characters.
    seed
        Seed of the first replica, in [0, 2³¹); replica r has seed + r.
    replicas
        Number of models to train, each from its own seed; 1 to 1000.
    epochs, batch_size
        Passes over the training images, 1 to 100,000, and images per step, 1 to 1,000,000.
    lr
        Learning rate before the schedule's factor; above 0, at most 1e30.
    threads
        CPU threads of PyTorch, 1 to 1024. Sums are rounded differently with another number of threads.
    device
        `cpu`, `cuda`, or `auto`: a GPU if there is one, else the CPU.
    precision
        Arithmetic of the network in training; weights and losses are float32 in every case. `float32`: IEEE float32 on
        every device. `tf32`: TensorFloat-32 (10 bits of mantissa) for matrix products and convolutions on a GPU, faster;
        IEEE float32 on a CPU. `bfloat16`: automatic mixed precision with bfloat16.
    inputs
        `raw`: pixel values in [0, 1]. `channel_mean`, `mean_image`: minus that mean of the training images.
        `standardized`: minus the channel's mean, divided by its standard deviation.
    subset
        Train on this many training images, with the same share of each class; 0: on all.
    validation
        Fraction of the training images, in [0, 1), that is held out and scored after each epoch.
    model, objective, optimizer, schedule
        Components of the run, each selected by its `name`.
    augmentation
        Random changes to each training batch, applied in this order.
    regularizers
        Penalties and constraints in addition to the optimizer's `weight_decay`.
    layer_statistics
        Whether the history contains the gradient norm and the update/weight ratio of each layer.
    views
        Views of each image whose outputs a trained model averages to predict: empty for the image alone; `mirrored` for it
        and its mirror image; `mirrored_and_shifted` also for both shifted by a pixel. The history is scored without them.
    teacher
        The run whose trained model a student learns from.
    code
        Fingerprint of the code that this run uses.
    """

    run: Name
    suite: Name
    seed: int = Field(ge=0, lt=2**31)
    replicas: int = Field(ge=1, le=1000)
    epochs: Count
    batch_size: int = Field(ge=1, le=1_000_000)
    lr: Rate
    threads: int = Field(ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "tf32", "bfloat16"]
    inputs: Literal["raw", "channel_mean", "mean_image", "standardized"]
    subset: int = Field(default=0, ge=0, le=10**9)
    validation: float = Field(default=0, ge=0, lt=1)
    model: AnyModel
    objective: AnyObjective
    optimizer: Optimizer
    schedule: Schedule
    augmentation: list[Augmentation] = Field(default=[])
    regularizers: list[Regularizer] = Field(default=[])
    layer_statistics: bool = False
    views: Literal["", "mirrored", "mirrored_and_shifted"] = ""
    teacher: NoName = ""
    code: str = ""

    @model_validator(mode="after")
    def _compatible(self) -> Self:
        """Raise an error if values that are valid on their own cannot be combined."""
        model, objective = self.model.name, self.objective.name
        problem = ""
        if self.objective.needs_head and not self.model.has_head:
            problem = (
                f"objective {objective} computes only part of the last linear layer, and this {model} has none: choose"
                f" another model or another objective"
            )
        elif self.objective.needs_teacher and not self.teacher:
            problem = f"objective {objective} needs a teacher: move the run to `students` and set `teacher: RUN`"
        elif self.teacher and not self.objective.needs_teacher:
            problem = (
                f"objective {objective} does not use a teacher: choose one that does, such as teacher_student, or move the"
                f" run to `runs` without `teacher`"
            )
        elif self.teacher and self.augmentation:
            problem = (
                "augmentation cannot be combined with a teacher, whose outputs are computed once, for the unchanged"
                " images: remove it"
            )
        if problem:
            raise PydanticCustomError(TOGETHER, "{problem}", {"problem": problem})
        return self

    def components(self) -> Iterator[Component]:
        """Yield every component of this run, including those inside other components."""
        yield from _components_in(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the keys that have their default."""
        return self.model_dump(exclude_defaults=True)

    def to_yaml(self) -> str:
        """Return the text of `configs/SUITE/RUN.yaml`, which :func:`trainlab.config.load` reads."""
        return reading.dump(self.to_dict())


def _components_in(model: BaseModel) -> Iterator[Component]:
    for field in vars(model).values():
        for value in field if isinstance(field, list) else [field]:
            if isinstance(value, Component):
                yield value
                yield from _components_in(value)


class SuiteConfig(Strict):
    """How the runs of one suite are compared.

    Parameters
    ----------
    margin
        Difference of two accuracies that matters, as a fraction, in (0, 1).
    runs
        The suite's runs in the order of params.yaml, each with the run that it is compared with, if there is one.
    """

    margin: float = Field(gt=0, lt=1)
    runs: dict[str, str | None]


CheckName = Literal["initial_loss", "gradients", "overfit", "objective"]


class CheckConfig(Strict):
    """What the checks of a run expect: the block `checks` of params.yaml.

    Parameters
    ----------
    initial_loss_tolerance
        Largest allowed difference, in nats, between the initial loss and the loss at zero outputs; above 0.
    overfit_lr, overfit_epochs
        Constant learning rate, and passes (1 to 100,000) over 100 images in batches of 50.
    overfit_accuracy
        Accuracy that the last of these epochs must reach on these images, in (0, 1].
    expected_to_fail
        Checks that this run is expected to fail; passing one of them is an error.
    because
        Why this run is checked by values of its own; the report repeats it.
    """

    initial_loss_tolerance: Positive
    overfit_lr: Rate
    overfit_epochs: Count
    overfit_accuracy: float = Field(gt=0, le=1)
    expected_to_fail: list[CheckName] = Field(default=[])
    because: str = ""
