"""`trainlab export`: a trained model as one file for other runtimes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trainlab.commands import runs


class Format(StrEnum):
    """File formats."""

    onnx = "onnx"
    torch_export = "torch_export"


SUFFIXES = {Format.onnx: ".onnx", Format.torch_export: ".pt2"}
Name = typer.Argument(
    metavar="RUN", help="A run, or a model file (….safetensors).", autocompletion=runs.complete, show_default=False
)
FormatOption = typer.Option(
    "--format", help="onnx: for ONNX Runtime and others; torch_export: for torch.export.load, without trainlab."
)


def export(
    name: Annotated[str, Name],
    form: Annotated[Format, FormatOption] = Format.onnx,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write; by default RUN.onnx or RUN.pt2 in this directory."),
    ] = None,
    replica: Annotated[
        int | None, typer.Option(min=0, help="Export this replica alone, from 0; by default the mean of all.")
    ] = None,
) -> None:
    """Write a trained model as one file for other runtimes.

    The file takes pixels and contains the normalization of the inputs. Input: `images`, uint8, batch × channels × height ×
    width, in the size of the training images. Outputs: `probabilities`, batch × classes, mean over the replicas; `scores`,
    batch × replicas × classes. The names of the classes are in the file's metadata.

    Needs a model file: `dvc pull` gets those that were pushed, and the stage `train` writes them.
    """
    from trainlab.errors import UserError
    from trainlab.prediction import classifier
    from trainlab.prediction import export as exporting

    if name.endswith(runs.SUFFIX):
        path, trained = Path(name), classifier.load(Path(name), "cpu")
    else:
        path = runs.model_file(name)
        trained = classifier.load(path, "cpu", otherwise=runs.restore(path))
    if replica is not None and replica >= trained.replicas:
        raise UserError(f"{path} has {trained.replicas} replicas: --replica takes 0 to {trained.replicas - 1}")
    target = output or Path(path.stem + SUFFIXES[form])
    save = exporting.save_onnx if form is Format.onnx else exporting.save_torch_export
    save(trained.model, target, replica)
    shape, classes = trained.model.shape, len(trained.model.classes)
    count = trained.replicas if replica is None else 1
    print(
        f"{target}: images uint8[batch, {', '.join(map(str, shape))}] -> probabilities float32[batch, {classes}],"
        f" scores float32[batch, {count}, {classes}]"
    )
