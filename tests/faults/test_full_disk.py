"""The disk is full at each output of each stage, in DVC's cache and in its temporary directories, and then has room again."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from faults.conftest import Mount
from pipeline.scratch import Result, Scratch
from scale import example
from scale.test_repro import repro

PAGE = os.sysconf("SC_PAGE_SIZE")  # a file in memory uses whole pages
LEVELS = (0, 1, 2, 3, 4, 5, 8, 32, 128, 512)  # pages left; until the stage succeeds
RUN = "dropout_both"
STAGES = {
    "resolve": ["configs"],
    "download": ["data/raw"],
    "normalize": ["data/normalized"],
    "check": [f"checks/{RUN}.passed", f"metrics/checks/tricks/{RUN}.json"],
    "train": [f"models/{RUN}.safetensors", f"plots/history/tricks/{RUN}.csv"],  # and timings, which differ each time
    "evaluate": [
        f"metrics/tricks/{RUN}.json",
        f"metrics/tricks/{RUN}-classes.csv",
        f"plots/confusion/tricks/{RUN}.csv",
        f"plots/reliability/tricks/{RUN}.csv",
        f"predictions/tricks/{RUN}.safetensors",
    ],
    "compare": [
        *[f"metrics/tricks{name}" for name in (".csv", ".json", "-comparisons.csv", "-details.json")],
        *[f"metrics/tricks{name}" for name in ("-pairs.csv", "-seeds.csv")],
        *[f"plots/{name}/tricks.csv" for name in ("curves", "effects", "f1", "logs")],
    ],
    "draw": ["plots/pictures/tricks"],
    "predicted_classes": ["predicted_classes/tricks"],
    "report": ["report/index.html"],
}
ARGUMENTS = {
    **dict.fromkeys(("check", "train", "evaluate"), RUN),
    **dict.fromkeys(("compare", "draw", "predicted_classes"), "tricks"),
}


class Ballast:
    """A file that fills a file system but for some pages."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / ".ballast"

    def leave(self, pages: int) -> None:
        self._path.unlink(missing_ok=True)
        with self._path.open("wb") as file:
            free = os.statvfs(self._path).f_bavail
            os.posix_fallocate(file.fileno(), 0, max(free - pages, 1) * PAGE)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def content(root: Path, names: list[str]) -> dict[str, str]:
    """Return a digest of each file of some outputs that are there, hidden ones included."""
    paths = [root / name for name in names]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return {str(file.relative_to(root)): hashlib.md5(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def half_written(root: Path) -> list[Path]:
    """Return files and directories that a writer left aside."""
    found = [path for path in root.rglob(".*-*") if ".dvc" not in path.parts and ".git" not in path.parts]
    return [path for path in found if path.name != ".ballast"]


def remove(root: Path, names: list[str]) -> None:
    for name in names:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.fixture
def small_disk(reproduced: Scratch, tmp_path: Path, mount: Mount) -> Scratch:
    """Return a copy of the reproduced repository on a file system of its own."""
    mount(tmp_path / "disk", 200)
    repo = reproduced.copy(tmp_path / "disk/repo")
    shutil.rmtree(repo.path(".work"))  # checkpoints: room that a stage must not find
    return repo


def run(repo: Scratch, stage: str) -> Result:
    """Run a stage from its start, not from a checkpoint."""
    shutil.rmtree(repo.root / ".work", ignore_errors=True)
    return repo.stage(stage, *filter(None, [ARGUMENTS.get(stage)]), check=False)


def assert_full(done: Result) -> None:
    assert "Traceback" not in done.stderr, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("trainlab: ")]
    assert line.startswith("trainlab: the disk is full"), done.stderr
    assert line.endswith("free some space, then run the same command again")


@pytest.mark.faults
@pytest.mark.parametrize("kept", [False, True], ids=["first time", "again"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_leaves_each_output_whole_or_away(stage: str, kept: bool, small_disk: Scratch) -> None:
    """With more and more room, one output after the other can be written, until the stage succeeds."""
    repo, names, ballast = small_disk, STAGES[stage], Ballast(small_disk.root.parent)
    whole = content(repo.root, names)
    assert whole
    for count, pages in enumerate(LEVELS):
        if not kept:  # DVC deletes them before a stage
            remove(repo.root, names)
        ballast.leave(pages)
        done = run(repo, stage)
        ballast.remove()
        found = content(repo.root, names)
        assert half_written(repo.root) == []
        if not done.code:
            assert found == whole
            assert count > 0
            return
        assert_full(done)
        assert found == whole if kept else found.items() < whole.items()
    raise AssertionError(f"{stage} fails with {LEVELS[-1]} pages")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_no_half_written_file(small_disk: Scratch) -> None:
    ballast = Ballast(small_disk.root.parent)
    for stage, names in STAGES.items():
        whole = content(small_disk.root, names)
        ballast.leave(0)
        assert_full(run(small_disk, stage))
        ballast.remove()
        assert content(small_disk.root, names) == whole
        assert half_written(small_disk.root) == []


@pytest.mark.faults
@pytest.mark.parametrize("place", [".dvc/cache", ".dvc/tmp", "site"])
@pytest.mark.parametrize("pages", [0, 4, 40])
def test_dvc_continues_after_its_own_directory_was_full(
    place: str, pages: int, reproduced: Scratch, tmp_path: Path, mount: Mount
) -> None:
    repo = reproduced.copy(tmp_path / "repo")
    whole = repo.models(), repo.digests("predictions"), repo.digests("metrics")
    full = tmp_path / "repo-site" if place == "site" else repo.path(place)
    shutil.rmtree(full, ignore_errors=True)
    mount(full, 50)
    ballast = Ballast(full)
    ballast.leave(pages)
    repo.path(f"models/{RUN}.safetensors").unlink()
    done = repo.dvc("repro", check=False)
    assert "Traceback" not in done.stderr
    assert done.code or repo.models() == whole[0]
    ballast.remove()
    repo.dvc("repro")
    assert (repo.models(), repo.digests("predictions"), repo.digests("metrics")) == whole
    # DVC leaves the file that it was writing beside the objects, as NAME.RANDOM.tmp, and never reads it.
    objects = [path for path in repo.path(".dvc/cache/files/md5").glob("??/*") if path.suffix not in (".dir", ".tmp")]
    assert objects
    for path in objects:
        assert path.parent.name + path.name == hashlib.md5(path.read_bytes()).hexdigest()  # none was cut


FILLS = """
stages:
  one: {cmd: "cp raw.csv one.txt  # COMMENT", deps: [raw.csv], outs: [one.txt]}
  two: {cmd: python fill.py && cp raw.csv two.txt, deps: [raw.csv], outs: [{two.txt: {cache: false}}]}
"""
FILL = """
import os
if os.path.exists("../fills"):
    file = open("../.ballast", "wb")
    space = os.statvfs(file.fileno())
    os.posix_fallocate(file.fileno(), 0, (space.f_bavail - 1) * space.f_bsize)
"""


@pytest.mark.slow
def test_trainlab_repro_keeps_dvc_lock_when_the_disk_is_full(tmp_path: Path, mount: Mount) -> None:
    """The stage fills the disk but for the page of its output, and DVC's cache is elsewhere: dvc.lock finds no room."""
    mount(tmp_path / "disk", 5)
    root = example.create(tmp_path / "disk/project")
    example.run(root, "dvc", "config", "cache.dir", str(tmp_path / "cache"))
    for place in (root / ".dvc/tmp", root.parent / "site"):
        mount(place, 5)
    (root / "dvc.yaml").write_text(FILLS.replace("COMMENT", "x" * (PAGE - 400)))
    (root / "fill.py").write_text(FILL)
    repro(root, "one")
    before = (root / "dvc.lock").read_bytes()
    assert len(before) < PAGE  # and more with another stage: DVC alone would write half of it

    (tmp_path / "disk/fills").touch()
    assert "trainlab: the disk is full" in repro(root, code=1)
    assert (root / "two.txt").read_bytes() == (root / "raw.csv").read_bytes()
    assert (root / "dvc.lock").read_bytes() == before
    assert half_written(root) == []

    (tmp_path / "disk/fills").unlink()
    (tmp_path / "disk/.ballast").unlink()
    repro(root)
    ours = (root / "dvc.lock").read_bytes()
    assert len(ours) > PAGE
    (root / "dvc.lock").unlink()
    example.run(root, "dvc", "repro", "-q")
    assert (root / "dvc.lock").read_bytes() == ours


@pytest.mark.slow
def test_a_mount_point_in_place_of_a_directory_keeps_its_files(
    reproduced: Scratch, tmp_path: Path, mount: Mount
) -> None:
    """Its files can be deleted, and the directory cannot be replaced: EBUSY."""
    repo = reproduced.copy(tmp_path / "repo")
    shutil.copytree(repo.path("configs"), tmp_path / "configs")
    mount(repo.path("configs"), 5)
    shutil.copytree(tmp_path / "configs", repo.path("configs"), dirs_exist_ok=True)
    before = repo.digests("configs")
    done = repo.stage("resolve", check=False)
    assert done.code == 1
    assert done.stderr == (
        "trainlab: configs is a mount point, which cannot be replaced: unmount it, or mount a directory above it\n"
    )
    assert repo.digests("configs") == before
    assert half_written(repo.root) == []
