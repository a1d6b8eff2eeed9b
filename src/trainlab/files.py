"""Write files and directories completely or not at all; read them, or say which stage writes them."""

import errno
import hashlib
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
    """Yield a temporary path to write a file to; it replaces ``path`` when the block ends without an error.

    The temporary file is in the directory of ``path``, so that the rename is atomic. Missing directories are created.
    After an error, the temporary file is deleted and ``path`` is unchanged.

    Parameters
    ----------
    path
        The file. The temporary path has the same suffix, because some writers choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o666 & ~_umask())  # mkstemp creates files that only their owner can read
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def directory_written_whole(path: Path) -> Iterator[Path]:
    """Yield an empty temporary directory to fill; it replaces the directory ``path`` when the block ends without an error.

    After an error, the temporary directory is deleted and ``path`` is unchanged.

    Raises
    ------
    UserError
        If ``path`` is a mount point, which cannot be replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield aside
        aside.chmod(0o777 & ~_umask())
        with _moved_away(path):
            aside.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _moved_away(path: Path) -> Iterator[None]:
    """Move a directory away during a block, which puts another in its place; put it back after an error, else delete it."""
    if not path.exists():
        yield
        return
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as away:
        old = Path(away, path.name)
        try:
            path.replace(old)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise UserError(
                    f"{path} is a mount point, which cannot be replaced: unmount it, or mount a directory above it"
                ) from None
            if error.errno != errno.EXDEV:  # overlay file systems cannot rename the directories of a lower layer
                raise
            shutil.rmtree(path)
        try:
            yield
        except BaseException:
            if old.exists():
                old.replace(path)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, Unix line ends) completely or not at all."""
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON (UTF-8) completely or not at all.

    Parameters
    ----------
    path
        The file.
    value
        Dictionaries, lists, strings, finite numbers, booleans and None. The order of keys is kept.

    Raises
    ------
    ValueError
        If the value contains a NaN or an infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: "Mapping[str, np.ndarray]", record: Mapping[str, Any] | None = None) -> None:
    """Write arrays as safetensors completely or not at all; the same arrays and record give the same bytes.

    Parameters
    ----------
    path
        The file.
    tensors
        Arrays by name.
    record
        Metadata of plain values. It is stored as one JSON string under one metadata key, because safetensors writes
        several keys in random order (safetensors issue 584).
    """
    import safetensors.numpy

    contiguous = {name: array if array.flags.c_contiguous else array.copy(order="C") for name, array in tensors.items()}
    metadata = None if record is None else {RECORD: json.dumps(record, sort_keys=True, ensure_ascii=False)}
    with written_whole(path) as aside:
        # `save_file` on a full disk raises an error that is not an OSError.
        aside.write_bytes(safetensors.numpy.save(contiguous, metadata))


def read_tensors(path: Path) -> "tuple[dict[str, np.ndarray], dict[str, Any]]":
    """Return what :func:`write_tensors` wrote: the arrays by name, and the record (empty if the file has none).

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
    except (SafetensorError, struct.error, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(record, dict):
        raise ValueError("its record is not a JSON object")
    return tensors, record


def digest(tensors: "Mapping[str, np.ndarray]", record: Mapping[str, Any]) -> str:
    """Return a SHA-256 digest of what a tensor file contains.

    Parameters
    ----------
    tensors
        Arrays by name; their names, shapes, types and values count.
    record
        Metadata of plain values; its key `digest` does not count.
    """
    rest = {key: value for key, value in record.items() if key != "digest"}
    known = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name] if tensors[name].flags.c_contiguous else tensors[name].copy(order="C")
        known.update(f"{name} {array.shape} {array.dtype}\n".encode())
        known.update(array.data)
    return known.hexdigest()


@contextmanager
def reading(path: Path, stage: str) -> Iterator[None]:
    """Replace errors of a block that reads a file by one line that names the command that writes the file.

    Parameters
    ----------
    path
        The file that the block reads.
    stage
        The DVC stage that writes it, such as ``compare@tricks``.

    Raises
    ------
    UserError
        Instead of FileNotFoundError if the file is missing, and instead of ValueError, LookupError, TypeError,
        AttributeError, OverflowError (1e999) and RecursionError (deep nesting), which unexpected content causes, and if
        a directory is in its place.
    """
    if path.is_dir():
        raise UserError(f"{path} is a directory: remove it, then run {repro(stage, path)}")
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run {repro(stage, path)}") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({_reason(error)}): delete it, then run {repro(stage, path)}") from error


def repro(stage: str, path: Path) -> str:
    """Return the command that runs a stage of the DVC project of a file, that is of the nearest dvc.yaml above it."""
    home = next((parent for parent in path.parents if (parent / "dvc.yaml").is_file()), Path())
    return f"`dvc repro {stage}`" if home == Path() else f"`dvc --cd {home} repro {stage}`"


def _reason(error: Exception) -> str:
    """Return the message of an error as one line."""
    if isinstance(error, KeyError):  # its message is only the key
        return f"it has no {error}"
    return " ".join(str(error).split())


def _umask() -> int:
    mask = os.umask(0)  # it can only be read by setting it
    os.umask(mask)
    return mask
