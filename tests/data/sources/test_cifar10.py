"""The source `cifar10`: every origin of the files, and their verification before they are unpickled."""

import errno
import hashlib
import http.server
import pickle
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from cifar10_files import CLASSES, FOLDER, tables, write_cifar10
from trainlab.data.sources.cifar10 import MIRROR, Cifar10
from trainlab.errors import UserError
from trainlab.files import directory_written_whole

Serve = Callable[["Path | Handler"], str]
Handler = Callable[..., http.server.BaseHTTPRequestHandler]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    directory = tmp_path_factory.mktemp("mirror")
    md5s = write_cifar10(directory)
    for kind in ("gztar", "xztar"):
        shutil.make_archive(str(directory / "cifar-10-python"), kind, directory, FOLDER)
    return directory, md5s


@pytest.fixture
def files(mirror: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the directory of a mirror; this process treats its files as the official ones."""
    shutil.copytree(mirror[0], tmp_path / "mirror")
    for name, value in tables(mirror[1]).items():
        monkeypatch.setattr(CIFAR10, name, value)
    monkeypatch.setattr("trainlab.data.sources.cifar10._TIMEOUT", (2, 0.5))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return tmp_path / "mirror"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Yield a function that serves a directory or a request handler on the loopback interface and returns the URL."""
    servers = []

    def start(served: Path | Handler) -> str:
        handler = partial(Quiet, directory=str(served)) if isinstance(served, Path) else served
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def fetch(tmp_path: Path) -> Path:
    """Fetch the files in the same origin as the stage does."""
    with directory_written_whole(tmp_path / "data" / "raw") as aside:
        Cifar10().fetch(aside)
    return tmp_path / "data" / "raw"


def refused(tmp_path: Path) -> str:
    """Return the error message of a fetch, and check that the files of an earlier fetch are unchanged."""
    before = tmp_path / "data" / "raw" / "before"
    before.parent.mkdir(parents=True, exist_ok=True)
    before.write_text("unchanged")
    with pytest.raises(UserError) as caught:
        fetch(tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]
    assert list((tmp_path / "data" / "raw").iterdir()) == [before]
    assert "\n" not in str(caught.value)
    assert MIRROR in str(caught.value) or "run the same command again" in str(caught.value)
    return str(caught.value)


ORIGINS = [".", FOLDER, "cifar-10-python.tar.gz", "cifar-10-python.tar.xz"]


@pytest.mark.parametrize(
    ("kind", "origin"),
    [(kind, origin) for kind in ("path", "file", "http") for origin in ORIGINS if kind != "http" or "tar" in origin],
)
def test_every_origin_gives_the_same_verified_files(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve, kind: str, origin: str
) -> None:
    where = {"path": str(files / origin), "file": (files / origin).as_uri(), "http": f"{serve(files)}/{origin}"}[kind]
    monkeypatch.setenv(MIRROR, where)
    raw = fetch(tmp_path)
    assert [path.name for path in raw.iterdir()] == [FOLDER]
    fetched = {path.name: path.read_bytes() for path in (raw / FOLDER).iterdir()}
    assert fetched == {path.name: path.read_bytes() for path in (files / FOLDER).iterdir()}


def test_a_url_with_a_final_slash_is_the_directory_of_the_archive(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setenv(MIRROR, f"{serve(files)}/")
    assert (fetch(tmp_path) / FOLDER / "test_batch").is_file()


def test_without_a_mirror_the_official_archive_is_downloaded(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = files / "cifar-10-python.tar.gz"
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.setattr(CIFAR10, "url", f"{serve(files)}/{archive.name}")
    message = refused(tmp_path)
    assert "instead of c58f30108f718f92721af3b95e74349a" in message  # the archive is not the official one
    capsys.readouterr()
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    assert (fetch(tmp_path) / FOLDER / "test_batch").is_file()
    assert capsys.readouterr().out == f"downloading {CIFAR10.url} ({archive.stat().st_size:,} bytes)\n"


def test_images_and_labels_equal_torchvisions(files: Path) -> None:
    train, test, classes = Cifar10().read(files)
    for split, official in ((train, CIFAR10(files, train=True)), (test, CIFAR10(files, train=False))):
        np.testing.assert_array_equal(split.images.transpose(0, 2, 3, 1), official.data)
        np.testing.assert_array_equal(split.labels, official.targets)
        assert [split.images.dtype, split.labels.dtype] == [np.dtype(np.uint8), np.dtype(np.int64)]
        assert split.images.flags.c_contiguous
    assert (len(train.labels), len(test.labels), classes) == (100, 20, CLASSES)


class Boom:
    """Fails the test if it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("unpickled before it was verified",))


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_5", "test_batch", "batches.meta"])
@pytest.mark.parametrize("mirrored", [True, False])
def test_a_changed_file_is_never_unpickled(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, mirrored: bool
) -> None:
    (files / FOLDER / name).write_bytes(pickle.dumps(Boom()))
    if mirrored:
        monkeypatch.setenv(MIRROR, str(files))
        assert f"{files}: {name} has the MD5 " in refused(tmp_path)
    else:
        with pytest.raises(UserError, match=rf"{FOLDER}/{name} is missing or not the official file: run `dvc repro"):
            Cifar10().read(files)


def test_a_missing_file_is_named(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / FOLDER / "data_batch_3").unlink()
    monkeypatch.setenv(MIRROR, str(files))
    assert f"{files} does not contain data_batch_3: set {MIRROR}" in refused(tmp_path)
    with pytest.raises(UserError, match="data_batch_3 is missing"):
        Cifar10().read(files)


def test_a_mirror_that_does_not_exist_is_an_error(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(tmp_path / "nowhere"))
    assert f"{tmp_path}/nowhere does not exist" in refused(tmp_path)
    monkeypatch.setenv(MIRROR, "mirror/relative")
    assert "is not an absolute path or an http, https or file URL" in refused(tmp_path)


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_a_truncated_archive_is_an_error(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    archive = files / f"cifar-10-python.tar.{suffix}"
    monkeypatch.setenv(MIRROR, str(archive))
    whole = archive.read_bytes()
    for length in (0, 20, len(whole) // 2, len(whole) - 1):
        archive.write_bytes(whole[:length])
        assert f"{archive} is damaged, incomplete, or not" in refused(tmp_path)


def test_other_files_of_an_archive_are_not_kept(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").write_bytes(b"not the official file")
    archive = tmp_path / "more.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "other", "elsewhere/data_batch_1")  # before the official one
        tar.add(tmp_path / "other", f"{FOLDER}/another_name")
        tar.add(files / FOLDER, FOLDER)
    monkeypatch.setenv(MIRROR, str(archive))
    kept = {path.name: path.read_bytes() for path in (fetch(tmp_path) / FOLDER).iterdir()}
    assert kept == {path.name: path.read_bytes() for path in (files / FOLDER).iterdir()}


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "cifar-10-batches-py/../../evil"])
def test_an_archive_with_a_path_outside_of_it_is_an_error(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(files / FOLDER, FOLDER)
        tar.addfile(tarfile.TarInfo(name))
    monkeypatch.setenv(MIRROR, str(archive))
    assert "points outside" in refused(tmp_path)


def test_an_archive_with_a_link_is_an_error(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / FOLDER / "data_batch_1").unlink()
    (files / FOLDER / "data_batch_1").symlink_to("data_batch_2")
    with tarfile.open(tmp_path / "link.tar.gz", "w:gz") as tar:
        tar.add(files / FOLDER, FOLDER)
    monkeypatch.setenv(MIRROR, str(tmp_path / "link.tar.gz"))
    assert "is a link or a device" in refused(tmp_path)


class Interrupted(Quiet):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"\x1f\x8b" + bytes(1000))


class Stalled(Quiet):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        threading.Event().wait(1.0)


class Redirecting(Quiet):
    """Redirects to itself for ever, to another scheme, or once to the archive, as the path of the request says."""

    def do_GET(self) -> None:
        name = self.path.strip("/").removesuffix(".tar.gz")
        target = {"loop": self.path, "file": "file:///etc/passwd", "once": "/cifar-10-python.tar.gz"}.get(name)
        if target is None:
            return super().do_GET()
        self.send_response(302)
        self.send_header("Location", target)
        self.end_headers()
        return None


@pytest.mark.parametrize("name", ["loop", "file"])
def test_a_redirection_without_end_or_to_a_local_file_is_an_error(
    name: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setenv(MIRROR, f"{serve(partial(Redirecting, directory=str(files)))}/{name}.tar.gz")
    assert f"/{name}.tar.gz" in refused(tmp_path)


def test_a_redirection_is_followed(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setenv(MIRROR, f"{serve(partial(Redirecting, directory=str(files)))}/once.tar.gz")
    assert (fetch(tmp_path) / FOLDER / "test_batch").is_file()


class Encoded(Quiet):
    def end_headers(self) -> None:
        assert self.headers["Accept-Encoding"] == "identity"
        self.send_header("Content-Encoding", "x-gzip")
        super().end_headers()


def test_a_server_may_declare_gzip_as_a_content_encoding(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setenv(MIRROR, f"{serve(partial(Encoded, directory=str(files)))}/cifar-10-python.tar.gz")
    assert (fetch(tmp_path) / FOLDER / "test_batch").is_file()


@pytest.mark.parametrize(("handler", "reason"), [(Interrupted, "it was interrupted"), (Stalled, "timed out")])
def test_an_interrupted_download_is_an_error(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve, handler: type[Quiet], reason: str
) -> None:
    monkeypatch.setenv(MIRROR, f"{serve(handler)}/cifar.tar.gz")
    assert reason in refused(tmp_path)


def test_a_download_above_the_limit_is_an_error(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setattr("trainlab.data.sources.cifar10._LARGEST_DOWNLOAD", 1000)
    monkeypatch.setenv(MIRROR, f"{serve(files)}/cifar-10-python.tar.gz")
    assert "is larger than" in refused(tmp_path)


def test_no_connection_and_an_unknown_address_are_errors(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    url = serve(files)
    monkeypatch.setenv(MIRROR, f"{url}/nothing.tar.gz")
    assert f"cannot download {url}/nothing.tar.gz (HTTP status 404): check the network" in refused(tmp_path)
    monkeypatch.setenv(MIRROR, "http://user:secret@127.0.0.1:9/cifar.tar.gz?token=secret")  # no server on port 9
    message = refused(tmp_path)
    assert "cannot download http://127.0.0.1:9/cifar.tar.gz (no connection" in message
    assert "secret" not in message
    monkeypatch.setenv(MIRROR, "http://[127.0.0.1/cifar.tar.gz")
    assert f"{MIRROR} is not a valid URL" in refused(tmp_path)


def test_a_full_disk_leaves_no_files(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv(MIRROR, str(files))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(tmp_path)
    assert list((tmp_path / "data").iterdir()) == []
