"""CIFAR-10, from its official address or from a mirror of yours."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from trainlab.data.archives import Member, members
from trainlab.data.stored import Split
from trainlab.errors import UserError

MIRROR = "CIFAR10_MIRROR"

_TIMEOUT = 10, 60  # seconds to connect, and between two pieces
_AS_IT_IS = {"Accept-Encoding": "identity"}  # an archive is not to be compressed once more on its way
_LARGEST_DOWNLOAD = 1 << 30
_CHUNK = 1 << 20
_ELSEWHERE = f"set {MIRROR} to the absolute path or URL of a directory or archive that has CIFAR-10"


class Cifar10:
    """CIFAR-10: 50,000 training and 10,000 test photographs, 32x32, 10 classes.

    torchvision's ``CIFAR10`` says where the official archive is, what its files are called and which MD5 they have, and
    decodes them. The environment variable CIFAR10_MIRROR names another place, by an absolute path or a file URL: the
    directory ``cifar-10-batches-py``, the directory that holds it, or an archive of it (.tar.gz, .tar.xz). An http or
    https URL names an archive; one that ends in ``/``, the place of ``cifar-10-python.tar.gz``. The variable is about
    the machine, not about the experiment, hence no parameter.

    References
    ----------
    Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. https://www.cs.toronto.edu/~kriz/cifar.html
    """

    def fetch(self, directory: Path) -> None:
        """Put the official files into ``directory/cifar-10-batches-py``, each one verified before it is written."""
        mirror = os.environ.get(MIRROR, "")
        if not mirror or mirror.startswith(("http://", "https://")):
            url = mirror or _dataset().url
            if url.endswith("/"):
                url += _dataset().filename
            shown = _shown(url)
            with tempfile.TemporaryFile(dir=directory) as archive:  # has no name: never left behind
                actual = _download(url, shown, archive)
                if not mirror and actual != (expected := _dataset().tgz_md5):
                    raise UserError(
                        f"{url} has the MD5 {actual} instead of {expected}: run the same command again, or {_ELSEWHERE}"
                    )
                _keep(members(archive, shown), directory, shown)
            return
        path = _local(mirror)
        if path.is_dir():
            _keep(_files(path), directory, str(path))
        elif path.is_file():
            with path.open("rb") as archive:
                _keep(members(archive, str(path)), directory, str(path))
        else:
            raise UserError(f"{path} does not exist: {_ELSEWHERE}, or unset it to download")

    def read(self, directory: Path) -> tuple[Split, Split, list[str]]:
        """Training images, test images and class names; every file is verified before the first is unpickled."""
        dataset = _dataset()
        for name, expected in _checksums().items():
            path = directory / dataset.base_folder / name
            if not path.is_file() or _md5(path.read_bytes()) != expected:
                raise UserError(f"{path} is missing or not the official file: run `dvc repro download`")
        train, test = dataset(directory, train=True), dataset(directory, train=False)
        return _split(train), _split(test), list(train.classes)


def _dataset() -> Any:
    """torchvision's ``CIFAR10``, imported where it is used: that takes four seconds."""
    from torchvision.datasets import CIFAR10

    return CIFAR10


def _checksums() -> dict[str, str]:
    """The official files and their MD5."""
    dataset = _dataset()
    return {**dict(dataset.train_list + dataset.test_list), dataset.meta["filename"]: dataset.meta["md5"]}


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _split(dataset: Any) -> Split:
    images = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))  # undoes torchvision's own transposition: no copy
    return Split(images, np.array(dataset.targets, np.int64))


def _keep(files: Iterable[Member], directory: Path, origin: str) -> None:
    """Write the official files among ``files``, and refuse one that is not what torchvision says."""
    folder = _dataset().base_folder
    missing = _checksums()
    (directory / folder).mkdir()
    for path, content in files:
        if content is None or path.name not in missing or path.parent.name not in ("", folder):
            continue
        expected, actual = missing.pop(path.name), _md5(content)
        if actual != expected:
            raise UserError(
                f"{origin}: {path.name} has the MD5 {actual} instead of {expected}, so it is damaged or not the "
                f"official file: get it again, or {_ELSEWHERE}"
            )
        (directory / folder / path.name).write_bytes(content)
    if missing:
        raise UserError(f"{origin} lacks {', '.join(missing)}: {_ELSEWHERE}")


def _files(mirror: Path) -> Iterator[Member]:
    folder = mirror / _dataset().base_folder
    for name in _checksums():
        path = (folder if folder.is_dir() else mirror) / name
        if path.is_file():
            yield Member(PurePosixPath(name), path.read_bytes())


def _local(mirror: str) -> Path:
    path = Path(url2pathname(urlsplit(mirror).path) if mirror.startswith("file:") else mirror)
    if not path.is_absolute():
        raise UserError(
            f"{MIRROR} is {mirror!r}, which is neither an absolute path nor an http, https or file URL: {_ELSEWHERE}"
        )
    return path


def _shown(url: str) -> str:
    """The URL without a password or token that it may carry."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UserError(f"{MIRROR} is no valid URL: {_ELSEWHERE}") from error
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _download(url: str, shown: str, archive: IO[bytes]) -> str:
    """Write what ``url`` gives to ``archive``, with a progress bar where there is a terminal; give its MD5."""
    import requests
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from urllib3.exceptions import HTTPError

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("downloading CIFAR-10"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with requests.get(url, headers=_AS_IT_IS, stream=True, timeout=_TIMEOUT) as response, bar:
            response.raise_for_status()
            header = response.headers.get("Content-Length", "")
            length = int(header) if header.isdecimal() else None
            if not console.is_terminal:
                print(f"downloading {shown}" + (f" ({length:,} bytes)" if length else ""), flush=True)
            task = bar.add_task("", total=length)
            # Not decoded: some servers call the .gz of an archive a content encoding.
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                archive.write(chunk)
                digest.update(chunk)
                bar.advance(task, len(chunk))
                if archive.tell() > _LARGEST_DOWNLOAD:
                    raise UserError(
                        f"{shown} is larger than {_LARGEST_DOWNLOAD >> 30} GiB, so not CIFAR-10: {_ELSEWHERE}"
                    )
    except (requests.RequestException, HTTPError) as error:
        raise UserError(f"cannot download {shown} ({_reason(error)}): check the network, or {_ELSEWHERE}") from error
    archive.seek(0)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    return "no answer in time" if "timed out" in str(error).lower() else "no connection, or it broke off"
