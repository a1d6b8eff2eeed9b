"""`trainlab predict`: the classes of own images, by a trained model."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from trainlab.commands import runs

if TYPE_CHECKING:
    from trainlab.commands.formats import Printer
    from trainlab.commands.pictures import Named
    from trainlab.prediction.classifier import Classifier


class Format(StrEnum):
    """How predictions are printed."""

    table = "table"
    csv = "csv"
    json = "json"


class Device(StrEnum):
    """Where the model computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Images = typer.Argument(
    metavar="IMAGE…",
    help="Files (PNG, JPEG, WebP), directories with all that is below them, patterns such as '*.png', or - for standard input.",
)
Run = typer.Option("--run", metavar="RUN", help="Predict with the model of this run.", autocompletion=runs.complete)
Model = typer.Option("--model", metavar="FILE", help="Predict with this model file (….safetensors).")


def predict(
    images: Annotated[list[str], Images],
    run: Annotated[str, Run] = "",
    model: Annotated[Path | None, Model] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of classes per image.")] = 3,
    form: Annotated[Format, typer.Option("--format", help="How the predictions are printed.")] = Format.table,
    device: Annotated[
        Device, typer.Option(help="Where the model computes; auto: on a GPU if there is one.")
    ] = Device.auto,
) -> None:
    """Predict the classes of images with a trained model.

    The probabilities are means over the model's replicas (seeds). The disagreement is the share of replicas whose most
    probable class is another one. Images are scaled and cropped like those of the data source `folder`.

    Needs a model file: `dvc pull` gets those that were pushed, and the stage `train` writes them.
    """
    if (model is None) == (not run):
        raise typer.BadParameter("name a run or a model file, one of them.", param_hint="--run, --model")
    from trainlab.commands import formats, pictures
    from trainlab.prediction import classifier

    if model is None:
        path = runs.model_file(run)
        trained = classifier.load(path, device, otherwise=runs.restore(path))
    else:
        trained = classifier.load(model, device)
    found = pictures.find(images)
    top = min(top, len(trained.model.classes))
    printer: Printer
    match form:
        case Format.table:
            names = [named.name for named in found]
            printer = formats.AsTable(names, trained.model.classes, trained.replicas, top)
        case Format.csv:
            printer = formats.AsCsv(top)
        case Format.json:
            printer = formats.AsJson(top)
    if _predict(trained, found, printer):
        raise typer.Exit(1)


def _predict(trained: "Classifier", found: "list[Named]", printer: "Printer") -> int:
    """Print the predictions of all images, and one line per image that has none; return the number of these."""
    import numpy as np

    from trainlab.errors import UserError
    from trainlab.prediction.images import shown
    from trainlab.training.inference import BATCH

    failed, rest = 0, iter(found)
    with _Bar(len(found)) as bar:
        while batch := list(islice(rest, BATCH)):
            contents = trained.decoder.decode_all(named.content for named in batch)
            results = [(named.name, result) for named, result in zip(batch, contents, strict=True)]
            errors = [(name, result) for name, result in results if isinstance(result, UserError)]
            read = [(name, result) for name, result in results if isinstance(result, np.ndarray)]
            prediction = trained.predict(np.stack([pixels for _, pixels in read])) if read else None
            with bar.hidden():
                for name, error in errors:
                    print(f"trainlab: {shown(name)} {error}", file=sys.stderr)
                if prediction:
                    printer.add([name for name, _ in read], prediction)
                sys.stdout.flush()  # where its reader is gone, as with `| head`, the command ends here
            bar.advance(len(batch))
            failed += len(errors)
        printer.close()
    return failed


class _Bar:
    """A live bar on standard error, if that is a terminal; a context manager."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            # Redirection would print to standard error what is meant for standard output.
            self._bar = Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
            self._task = self._bar.add_task("images", total=total)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the bar inside the block, so that it can print to the same terminal."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def advance(self, images: int) -> None:
        """Count images that are done."""
        if self._bar:
            self._bar.advance(self._task, images)
