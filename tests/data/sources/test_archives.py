"""Reading archives: the members of valid ones, and the error for each invalid one."""

import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from trainlab.data.sources import archives
from trainlab.data.sources.archives import Member
from trainlab.errors import UserError

FILES = {"train/cat/1.png": b"one" * 1000, "train/dog/2.png": b"", "test/cat/3.png": bytes(range(256)) * 8}


def tar(
    files: Mapping[str, bytes] = FILES, *, links: Sequence[tuple[str, str]] = (), kind: bytes = tarfile.SYMTYPE
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes] = FILES, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


FORMATS: dict[str, Callable[[], bytes]] = {
    ".tar": tar,
    ".tar.gz": lambda: gzip.compress(tar(), mtime=0),
    ".tar.xz": lambda: lzma.compress(tar()),
    ".zip": zipped,
}


def read(content: bytes) -> dict[str, bytes | None]:
    return {str(path): data for path, data in archives.members(io.BytesIO(content), "it.archive")}


def read_or_message(content: bytes) -> dict[str, bytes | None] | str:
    try:
        return read(content)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("suffix", FORMATS)
def test_all_files_are_read(suffix: str) -> None:
    assert read(FORMATS[suffix]()) == FILES


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_archive_is_an_error_unless_only_padding_is_missing(suffix: str) -> None:
    whole = FORMATS[suffix]()
    for length in range(0, len(whole), 101):
        outcome = read_or_message(whole[:length])
        if outcome == FILES:  # a .tar is complete without the end of its padding
            assert suffix == ".tar"
        else:
            assert "it.archive is damaged, incomplete, or not" in outcome


@pytest.mark.parametrize("suffix", FORMATS)
@given(data=st.data())
def test_a_damaged_archive_is_a_user_error_or_gives_only_safe_paths(suffix: str, data: st.DataObject) -> None:
    content = bytearray(FORMATS[suffix]())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    outcome = read_or_message(bytes(content))
    if isinstance(outcome, str):
        assert "\n" not in outcome
    else:
        assert not any(name.startswith("/") or ".." in name.split("/") for name in outcome)


@given(st.binary(max_size=2000))
@example(b"PK")
@example(b"\x1f\x8b")
@example(b"\xfd7zXZ\0")
def test_other_content_is_an_error(content: bytes) -> None:
    assume(any(content[:512]) or len(content) < 512)  # a block of zeros is an empty tar
    with pytest.raises(UserError, match=r"not a \.tar"):
        read(content)


UNSAFE = [
    "../out",
    "/etc/out",
    "train/../../out",
    "C:\\out",
    "..\\out",
    "C:out",
    "\\\\host\\share\\out",
    "a\nb/../../out",
]


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_member_that_points_outside_is_an_error(name: str, pack: Callable[[Mapping[str, bytes]], bytes]) -> None:
    with pytest.raises(UserError, match=r"^it\.archive has a member that points outside of it, .*out.*$") as caught:
        read(pack({"train/cat/1.png": b"1", name: b"x"}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_errors(kind: bytes) -> None:
    with pytest.raises(UserError, match=r"link or a device, 'train/cat/1\.png'"):
        read(tar({}, links=[("train/cat/1.png", "train/dog/2.png")], kind=kind))


def test_links_in_a_zip_are_errors() -> None:
    link = zipfile.ZipInfo("train/cat/1.png")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="link or a device"):
        read(buffer.getvalue())


def test_an_encrypted_zip_is_an_error() -> None:
    content = bytearray(zipped({"a": b"abc"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UserError, match="encrypted"):
        read(bytes(content))


def test_a_zip_compression_without_a_memory_bound_is_an_error() -> None:
    with pytest.raises(UserError, match="damaged"):
        read(zipped(compression=zipfile.ZIP_LZMA))


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("limit", ["LARGEST_FILE", "LARGEST_ARCHIVE"])
def test_a_member_or_an_archive_above_the_limit_is_an_error(
    monkeypatch: pytest.MonkeyPatch, pack: Callable[[], bytes], limit: str
) -> None:
    monkeypatch.setattr(archives, limit, 2999)
    with pytest.raises(UserError, match=r"too large at its member 'train/cat/1\.png'"):
        read(pack())


def test_too_much_data_after_the_end_of_the_archive_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_ARCHIVE", 1 << 20)
    with pytest.raises(UserError, match="too large"):
        read(gzip.compress(tar() + bytes(4 << 20)))


def test_a_broken_header_in_the_middle_is_an_error() -> None:
    content = bytearray(tar())
    content[content.index(b"train/dog")] ^= 1
    with pytest.raises(UserError, match="damaged"):
        read(bytes(content))


def test_errors_of_the_caller_are_not_changed() -> None:
    def stop(member: Member) -> None:
        raise KeyError(member.path)

    with pytest.raises(KeyError, match="cat"):
        list(map(stop, archives.members(io.BytesIO(tar()), "it.archive")))
