"""The source `cifar10`: every way to the files, and each check before they are unpickled."""

import errno
import hashlib
import http.server
import pickle
import shutil
import tarfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from cifar10_files import CLASSES, FOLDER, tables, write_cifar10
from trainlab.data.cifar10 import MIRROR, Cifar10
from trainlab.errors import UserError
from trainlab.files import directory_written_whole


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    directory = tmp_path_factory.mktemp("mirror")
    md5s = write_cifar10(directory)
    for suffix in ("gz", "xz"):
        with tarfile.open(directory / f"cifar-10-python.tar.{suffix}", f"w:{suffix}") as archive:
            archive.add(directory / FOLDER, FOLDER)
    return directory, md5s


@pytest.fixture
def files(mirror, monkeypatch, tmp_path) -> Path:
    """A mirror's directory, of which this process takes the files for the official ones."""
    shutil.copytree(mirror[0], tmp_path / "mirror")
    for name, value in tables(mirror[1]).items():
        monkeypatch.setattr(CIFAR10, name, value)
    monkeypatch.setattr("trainlab.data.cifar10._TIMEOUT", (2, 0.5))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return tmp_path / "mirror"


@pytest.fixture
def serve():
    """Serve a directory, or requests by a handler, on loopback; gives the URL."""
    servers = []

    def start(handler) -> str:
        if isinstance(handler, Path):
            handler = partial(Quiet, directory=handler)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def fetch(tmp_path: Path) -> Path:
    """Fetch as the stage does."""
    with directory_written_whole(tmp_path / "data" / "raw") as aside:
        Cifar10().fetch(aside)
    return tmp_path / "data" / "raw"


def refused(tmp_path: Path) -> str:
    """The message of a fetch that must fail, leave nothing, and leave what stood before."""
    before = tmp_path / "data" / "raw" / "before"
    before.parent.mkdir(parents=True, exist_ok=True)
    before.write_text("stands")
    with pytest.raises(UserError) as caught:
        fetch(tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]
    assert list((tmp_path / "data" / "raw").iterdir()) == [before]
    assert "\n" not in str(caught.value)
    assert MIRROR in str(caught.value) or "run the same command again" in str(caught.value)
    return str(caught.value)


WAYS = [".", FOLDER, "cifar-10-python.tar.gz", "cifar-10-python.tar.xz"]


@pytest.mark.parametrize(
    ("kind", "way"),
    [(kind, way) for kind in ("path", "file", "http") for way in WAYS if kind != "http" or "tar" in way],
)
def test_every_way_gives_the_same_verified_files(files, tmp_path, monkeypatch, serve, kind, way):
    where = {"path": str(files / way), "file": (files / way).as_uri(), "http": f"{serve(files)}/{way}"}[kind]
    monkeypatch.setenv(MIRROR, where)
    raw = fetch(tmp_path)
    assert [path.name for path in raw.iterdir()] == [FOLDER]
    fetched = {path.name: path.read_bytes() for path in (raw / FOLDER).iterdir()}
    assert fetched == {path.name: path.read_bytes() for path in (files / FOLDER).iterdir()}


def test_a_url_that_ends_in_a_slash_is_a_directory_with_the_official_name(files, tmp_path, monkeypatch, serve):
    monkeypatch.setenv(MIRROR, f"{serve(files)}/")
    assert (fetch(tmp_path) / FOLDER / "test_batch").is_file()


def test_without_a_mirror_the_official_archive_is_downloaded(files, tmp_path, monkeypatch, serve, capsys):
    archive = files / "cifar-10-python.tar.gz"
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.setattr(CIFAR10, "url", f"{serve(files)}/{archive.name}")
    message = refused(tmp_path)
    assert "instead of c58f30108f718f92721af3b95e74349a" in message  # the archive is not the official one
    capsys.readouterr()
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    assert (fetch(tmp_path) / FOLDER / "test_batch").is_file()
    assert capsys.readouterr().out == f"downloading {CIFAR10.url} ({archive.stat().st_size:,} bytes)\n"


def test_reads_what_torchvision_reads(files):
    train, test, classes = Cifar10().read(files)
    for split, official in ((train, CIFAR10(files, train=True)), (test, CIFAR10(files, train=False))):
        np.testing.assert_array_equal(split.images.transpose(0, 2, 3, 1), official.data)
        np.testing.assert_array_equal(split.labels, official.targets)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert split.images.flags.c_contiguous
    assert (len(train.labels), len(test.labels), classes) == (100, 20, CLASSES)


class Boom:
    """Unpickling this would show."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled before it was verified",))


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_5", "test_batch", "batches.meta"])
@pytest.mark.parametrize("mirrored", [True, False])
def test_a_changed_file_is_never_unpickled(files, tmp_path, monkeypatch, name, mirrored):
    (files / FOLDER / name).write_bytes(pickle.dumps(Boom()))
    if mirrored:
        monkeypatch.setenv(MIRROR, str(files))
        assert f"{files}: {name} has the MD5 " in refused(tmp_path)
    else:
        with pytest.raises(UserError, match=rf"{FOLDER}/{name} is missing or not the official file: run `dvc repro"):
            Cifar10().read(files)


def test_a_missing_file_is_named(files, tmp_path, monkeypatch):
    (files / FOLDER / "data_batch_3").unlink()
    monkeypatch.setenv(MIRROR, str(files))
    assert f"{files} lacks data_batch_3: set {MIRROR}" in refused(tmp_path)
    with pytest.raises(UserError, match="data_batch_3 is missing"):
        Cifar10().read(files)


def test_a_mirror_that_is_not_there(files, tmp_path, monkeypatch):
    monkeypatch.setenv(MIRROR, str(tmp_path / "nowhere"))
    assert f"{tmp_path}/nowhere does not exist" in refused(tmp_path)
    monkeypatch.setenv(MIRROR, "mirror/relative")
    assert "neither an absolute path nor" in refused(tmp_path)


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_a_cut_archive(files, tmp_path, monkeypatch, suffix):
    archive = files / f"cifar-10-python.tar.{suffix}"
    monkeypatch.setenv(MIRROR, str(archive))
    whole = archive.read_bytes()
    for length in (0, 20, len(whole) // 2, len(whole) - 1):
        archive.write_bytes(whole[:length])
        assert f"{archive} is damaged, cut short" in refused(tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "cifar-10-batches-py/../../evil"])
def test_an_archive_that_reaches_outside(files, tmp_path, monkeypatch, name):
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(files / FOLDER, FOLDER)
        tar.addfile(tarfile.TarInfo(name))
    monkeypatch.setenv(MIRROR, str(archive))
    assert "points outside" in refused(tmp_path)


def test_an_archive_with_a_link(files, tmp_path, monkeypatch):
    (files / FOLDER / "data_batch_1").unlink()
    (files / FOLDER / "data_batch_1").symlink_to("data_batch_2")
    with tarfile.open(tmp_path / "link.tar.gz", "w:gz") as tar:
        tar.add(files / FOLDER, FOLDER)
    monkeypatch.setenv(MIRROR, str(tmp_path / "link.tar.gz"))
    assert "is a link or a device" in refused(tmp_path)


class Cut(Quiet):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"\x1f\x8b" + bytes(1000))


class Stalled(Quiet):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        threading.Event().wait(1.0)


class Encoded(Quiet):
    def end_headers(self):
        assert self.headers["Accept-Encoding"] == "identity"
        self.send_header("Content-Encoding", "x-gzip")
        super().end_headers()


def test_a_server_that_calls_the_gz_an_encoding(files, tmp_path, monkeypatch, serve):
    monkeypatch.setenv(MIRROR, f"{serve(partial(Encoded, directory=files))}/cifar-10-python.tar.gz")
    assert (fetch(tmp_path) / FOLDER / "test_batch").is_file()


@pytest.mark.parametrize(("handler", "reason"), [(Cut, "broke off"), (Stalled, "no answer in time")])
def test_a_download_that_breaks_off(files, tmp_path, monkeypatch, serve, handler, reason):
    monkeypatch.setenv(MIRROR, f"{serve(handler)}/cifar.tar.gz")
    assert reason in refused(tmp_path)


def test_a_download_without_end(files, tmp_path, monkeypatch, serve):
    monkeypatch.setattr("trainlab.data.cifar10._LARGEST_DOWNLOAD", 1000)
    monkeypatch.setenv(MIRROR, f"{serve(files)}/cifar-10-python.tar.gz")
    assert "is larger than" in refused(tmp_path)


def test_no_network_and_no_such_page(files, tmp_path, monkeypatch, serve):
    url = serve(files)
    monkeypatch.setenv(MIRROR, f"{url}/nothing.tar.gz")
    assert f"cannot download {url}/nothing.tar.gz (HTTP status 404): check the network" in refused(tmp_path)
    monkeypatch.setenv(MIRROR, "http://user:secret@127.0.0.1:9/cifar.tar.gz?token=secret")  # 9: nobody listens
    message = refused(tmp_path)
    assert "cannot download http://127.0.0.1:9/cifar.tar.gz (no connection" in message
    assert "secret" not in message
    monkeypatch.setenv(MIRROR, "http://[127.0.0.1/cifar.tar.gz")
    assert f"{MIRROR} is no valid URL" in refused(tmp_path)


def test_a_full_disk_leaves_nothing(files, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv(MIRROR, str(files))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(tmp_path)
    assert list((tmp_path / "data").iterdir()) == []
