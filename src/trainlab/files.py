"""Write files and directories completely or not at all; read them, or say which stage writes them."""

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainlab.errors import UserError

if TYPE_CHECKING:
    import numpy as np

RECORD = "trainlab"  # the one metadata key of a tensor file


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path to write a file to; it takes the place of ``path`` when the block ends without an error.

    The file is written beside its destination (same file system, so the rename is atomic), in directories that are
    made where missing. After an error nothing is left behind and what stood at ``path`` still stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o666 & ~_umask())  # mkstemp makes private files; results are for everyone who may read the project
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def directory_written_whole(path: Path) -> Iterator[Path]:
    """Give an empty directory to fill; it takes the place of the directory ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield aside
        aside.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        aside.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, Unix line ends) whole or not at all."""
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON (UTF-8) completely or not at all.

    Raises
    ------
    ValueError
        If the value holds a NaN or an infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: "Mapping[str, np.ndarray]", record: Mapping[str, Any] | None = None) -> None:
    """Write arrays as safetensors, completely or not at all; the same arrays and record give the same bytes.

    Parameters
    ----------
    path
        The file.
    tensors
        Arrays by name.
    record
        What else the file says, as plain values. All of it is one JSON string under one metadata key, because safetensors
        writes several keys in random order (its issue 584).
    """
    import safetensors.numpy

    contiguous = {name: array if array.flags.c_contiguous else array.copy(order="C") for name, array in tensors.items()}
    metadata = None if record is None else {RECORD: json.dumps(record, sort_keys=True, ensure_ascii=False)}
    with written_whole(path) as aside:
        # As bytes, because the error of `save_file` on a full disk is no OSError.
        aside.write_bytes(safetensors.numpy.save(contiguous, metadata))


def read_tensors(path: Path) -> "tuple[dict[str, np.ndarray], dict[str, Any]]":
    """Read what :func:`write_tensors` wrote: arrays by name, and the record (empty where there is none).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a safetensors file, or its record is not a JSON object.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            record = json.loads((file.metadata() or {}).get(RECORD, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, struct.error) as error:
        raise ValueError(str(error)) from error
    if not isinstance(record, dict):
        raise ValueError("its record is not a JSON object")
    return tensors, record


@contextmanager
def reading(path: Path, stage: str) -> Iterator[None]:
    """Turn a missing or damaged file into an error that names the command that writes it.

    Parameters
    ----------
    path
        The file that is read inside the block.
    stage
        The DVC stage that writes it, such as ``compare@tricks``.

    Raises
    ------
    UserError
        In place of FileNotFoundError, and of ValueError, KeyError, TypeError and the like, which wrong content causes.
    """
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run {repro(stage, path)}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, then run {repro(stage, path)}") from error


def repro(stage: str, path: Path) -> str:
    """Return the command that runs a stage again, in the DVC project that a file belongs to: its nearest dvc.yaml above."""
    home = next((parent for parent in path.parents if (parent / "dvc.yaml").is_file()), Path())
    return f"`dvc repro {stage}`" if home == Path() else f"`dvc --cd {home} repro {stage}`"


def missing(path: Path, stage: str) -> UserError:
    return UserError(f"{path} is missing: run {repro(stage, path)}")


def damaged(path: Path, stage: str) -> UserError:
    return UserError(f"{path} is damaged: delete it, then run {repro(stage, path)}")


def _umask() -> int:
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return mask
