"""Read the files of an untrusted tar or zip archive."""

import errno
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple, cast

from trainlab.errors import UserError

# Far larger than a photograph or a data batch, and small enough that one file fits in memory.
LARGEST_FILE = 256 << 20
LARGEST_ARCHIVE = 64 << 30

_CHUNK = 1 << 20
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    NotImplementedError,
)


class Member(NamedTuple):
    """A file of an archive, or a directory if ``content`` is None; ``path`` is relative and has no ``..``."""

    path: PurePosixPath
    content: bytes | None


def members(archive: IO[bytes], name: str) -> Iterator[Member]:
    """Yield each file and directory of an archive, in the order of the archive; nothing is written.

    Parameters
    ----------
    archive
        A seekable .tar, .tar.gz, .tar.xz or .zip file; the format is recognized by its first bytes.
    name
        The archive's name in messages.

    Raises
    ------
    UserError
        If the archive is damaged, incomplete or encrypted, or has a member that points outside of it, is a link or a
        device, or exceeds the size limits. Some damage is found only at the end: after an error, discard all members
        that were yielded before.
    """
    start = archive.read(6)
    archive.seek(0)
    try:
        yield from _zip_members(archive, name) if start.startswith(b"PK") else _tar_members(archive, name, start)
    except _DAMAGED as error:
        raise _damaged(name) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: a damaged table of contents caused a seek to before the start
            raise
        raise _damaged(name) from error


def _damaged(name: str) -> UserError:
    return UserError(
        f"{name} is damaged, incomplete, or not a .tar, .tar.gz, .tar.xz or .zip archive: "
        "download or create it again, then run the same command again"
    )


def _tar_members(archive: IO[bytes], name: str, start: bytes) -> Iterator[Member]:
    stream: IO[bytes]
    if start.startswith(b"\x1f\x8b"):
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=archive))
    elif start.startswith(b"\xfd7zXZ\0"):
        stream = cast(IO[bytes], lzma.LZMAFile(archive))  # noqa: SIM115 - closed below
    else:
        stream = archive
    total = 0
    # The caller closes `archive`.
    with nullcontext() if stream is archive else stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            path = _inside(member.name, name)
            if not (member.isreg() or member.isdir()):
                raise _not_plain(member.name, name)
            total += member.size
            _check_size(member.name, member.size, total, name)
            file = tar.extractfile(member)  # None for a directory
            yield Member(path, file.read() if file else None)
        # tarfile treats a broken header, and a file that was truncated between two blocks, as the end of the archive. It
        # does not read to the checksum at the end of a compressed stream.
        stream.seek(tar.offset)
        if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError("no end-of-archive block")
        while chunk := stream.read(_CHUNK):
            total += len(chunk)
            _check_size("padding", 0, total, name)


def _zip_members(archive: IO[bytes], name: str) -> Iterator[Member]:
    total = 0
    with zipfile.ZipFile(archive) as contents:
        for member in contents.infolist():
            path = _inside(member.filename, name)
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _not_plain(member.filename, name)
            if member.is_dir():
                yield Member(path, None)
                continue
            if member.flag_bits & 1:
                raise UserError(
                    f"{name} is encrypted: create it again without a password, then run the same command again"
                )
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError("a compression that cannot be unpacked in bounded memory")
            total += member.file_size
            _check_size(member.filename, member.file_size, total, name)
            yield Member(path, contents.read(member))


def _inside(member: str, archive: str) -> PurePosixPath:
    """Return a member's path; raise an error if it is absolute (on Unix or Windows) or contains ``..``."""
    path, windows = PurePosixPath(member), PureWindowsPath(member)
    if path.is_absolute() or windows.anchor or ".." in path.parts + windows.parts or "\0" in member:
        raise UserError(
            f"{archive} has a member that points outside of it, {member!r}: "
            "it may be malicious; download or create it again, then run the same command again"
        )
    return path


def _not_plain(member: str, archive: str) -> UserError:
    return UserError(
        f"{archive} has a member that is a link or a device, {member!r}: "
        "create it again with the files themselves (tar --dereference), then run the same command again"
    )


def _check_size(member: str, size: int, total: int, archive: str) -> None:
    if size > LARGEST_FILE or total > LARGEST_ARCHIVE:
        raise UserError(
            f"{archive} is too large at its member {member!r} (limits: {LARGEST_FILE >> 20} MiB per file, "
            f"{LARGEST_ARCHIVE >> 30} GiB in total): create it again without that, then run the same command again"
        )
