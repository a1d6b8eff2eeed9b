"""The source `cifar10`: CIFAR-10 from its official address or from a mirror."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from trainlab.data.sources.archives import Member, members
from trainlab.data.stored import Split
from trainlab.errors import UserError

MIRROR = "CIFAR10_MIRROR"

_TIMEOUT = 10, 60  # seconds to connect, and to wait for more data
_NO_ENCODING = {"Accept-Encoding": "identity"}  # the server should not compress the archive a second time
_LARGEST_DOWNLOAD = 1 << 30
_CHUNK = 1 << 20
_ELSEWHERE = f"set {MIRROR} to the absolute path or URL of a directory or archive that contains CIFAR-10"


class Cifar10:
    """CIFAR-10: 50,000 training and 10,000 test photographs, 32x32 pixels, 10 classes.

    torchvision's ``CIFAR10`` defines the address of the official archive and the names and MD5 checksums of its files, and
    decodes them. The environment variable CIFAR10_MIRROR replaces the address. It is one of:

    - the absolute path or file URL of the directory ``cifar-10-batches-py``, of the directory that contains it, or of an
      archive of it (.tar.gz, .tar.xz);
    - the http or https URL of an archive, or, if it ends in ``/``, of the directory that contains
      ``cifar-10-python.tar.gz``.

    It is not a parameter because it describes the machine, not the experiment.

    References
    ----------
    Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. https://www.cs.toronto.edu/~kriz/cifar.html
    """

    def fetch(self, directory: Path) -> None:
        """Write the official files to ``directory/cifar-10-batches-py``; each file is verified before it is written.

        Raises
        ------
        UserError
            If the download fails, the mirror does not exist, or a file is missing or not the official one.
        """
        mirror = os.environ.get(MIRROR, "")
        if not mirror or mirror.startswith(("http://", "https://")):
            url = mirror or _dataset().url
            if url.endswith("/"):
                url += _dataset().filename
            shown = _shown(url)
            with tempfile.TemporaryFile(dir=directory) as archive:  # without a name, so that it cannot remain
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
        """Return training images, test images and class names; all files are verified before the first is unpickled.

        Raises
        ------
        UserError
            If a file is missing or not the official one.
        """
        dataset = _dataset()
        for name, expected in _checksums().items():
            path = directory / dataset.base_folder / name
            if not path.is_file() or _md5(path.read_bytes()) != expected:
                raise UserError(f"{path} is missing or not the official file: run `dvc repro download`")
        train, test = dataset(directory, train=True), dataset(directory, train=False)
        return _split(train), _split(test), list(train.classes)


def _dataset() -> Any:
    """Return torchvision's ``CIFAR10``; imported here because the import takes four seconds."""
    from torchvision.datasets import CIFAR10

    return CIFAR10


def _checksums() -> dict[str, str]:
    """Return the MD5 checksum of each official file."""
    dataset = _dataset()
    return {**dict(dataset.train_list + dataset.test_list), dataset.meta["filename"]: dataset.meta["md5"]}


def _md5(content: bytes) -> str:
    """Return an MD5 checksum in hexadecimal."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _split(dataset: Any) -> Split:
    """Return torchvision's images and labels as a split."""
    images = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))  # reverts torchvision's transposition: no copy
    return Split(images, np.array(dataset.targets, np.int64))


def _keep(files: Iterable[Member], directory: Path, origin: str) -> None:
    """Write the official files among ``files`` to ``directory``; raise an error if one is missing or has another MD5."""
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
                f"official file: download it again, or {_ELSEWHERE}"
            )
        (directory / folder / path.name).write_bytes(content)
    if missing:
        raise UserError(f"{origin} does not contain {', '.join(missing)}: {_ELSEWHERE}")


def _files(mirror: Path) -> Iterator[Member]:
    """Return the official files that a directory contains."""
    folder = mirror / _dataset().base_folder
    for name in _checksums():
        path = (folder if folder.is_dir() else mirror) / name
        if path.is_file():
            yield Member(PurePosixPath(name), path.read_bytes())


def _local(mirror: str) -> Path:
    """Return the path that CIFAR10_MIRROR contains, as a path or a file URL."""
    path = Path(url2pathname(urlsplit(mirror).path) if mirror.startswith("file:") else mirror)
    if not path.is_absolute():
        raise UserError(
            f"{MIRROR} is {mirror!r}, which is not an absolute path or an http, https or file URL: {_ELSEWHERE}"
        )
    return path


def _shown(url: str) -> str:
    """Return the URL without the password or token that it may contain."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UserError(f"{MIRROR} is not a valid URL: {_ELSEWHERE}") from error
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _download(url: str, shown: str, archive: IO[bytes]) -> str:
    """Download ``url`` to ``archive`` and return the MD5 checksum; on a terminal, show a progress bar."""
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
        with requests.get(url, headers=_NO_ENCODING, stream=True, timeout=_TIMEOUT) as response, bar:
            response.raise_for_status()
            header = response.headers.get("Content-Length", "")
            length = int(header) if header.isdecimal() else None
            if not console.is_terminal:
                print(f"downloading {shown}" + (f" ({length:,} bytes)" if length else ""), flush=True)
            task = bar.add_task("", total=length)
            # Not decoded, because some servers declare the compression of a .gz archive as a content encoding.
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                archive.write(chunk)
                digest.update(chunk)
                bar.advance(task, len(chunk))
                if archive.tell() > _LARGEST_DOWNLOAD:
                    raise UserError(
                        f"{shown} is larger than {_LARGEST_DOWNLOAD >> 30} GiB, so it is not CIFAR-10: {_ELSEWHERE}"
                    )
    except (requests.RequestException, HTTPError) as error:
        raise UserError(f"cannot download {shown} ({_reason(error)}): check the network, or {_ELSEWHERE}") from error
    archive.seek(0)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    """Return why a download failed, in a few words."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    return "timed out" if "timed out" in str(error).lower() else "no connection, or it was interrupted"
