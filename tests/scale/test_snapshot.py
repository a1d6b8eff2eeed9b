"""Commits of a workspace that leave the user's repository as it is."""

from pathlib import Path

import pytest

from trainlab.errors import UserError
from trainlab.scale.snapshot import Snapshots, git

ME = ("-c", "user.name=n", "-c", "user.email=e@example.org")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository with a commit, and with changes of every kind after it."""
    root = tmp_path / "root"
    root.mkdir()
    for name in ("kept", "edited", "staged", "removed"):
        (root / name).write_text(f"{name} as committed")
    (root / ".gitignore").write_text("ignored\ndata\n")
    git("init", "-q", cwd=root)
    git("add", "-A", cwd=root)
    git(*ME, "commit", "-qm", "first", cwd=root)
    for name in ("edited", "staged"):
        (root / name).write_text(f"{name} later")
    git("add", "staged", cwd=root)
    (root / "staged").write_text("staged, and edited after that")
    (root / "removed").unlink()
    (root / "new").write_text("untracked")
    (root / "ignored").write_text("of the user alone")
    (root / "data").mkdir()
    (root / "data/a").write_text("an input of a stage")
    return root


def state(root: Path) -> dict[str, bytes]:
    """Return what the user has: the content of the workspace and of .git, with the index, all references and objects."""
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def unpacked(directory: Path, *packs: bytes) -> Path:
    """Return an empty repository that got these packs."""
    git("init", "-q", str(directory), cwd=directory.parent)
    for pack in packs:
        git("unpack-objects", "-q", cwd=directory, data=pack)
    return directory


def files(repository: Path, commit: str) -> dict[str, str]:
    names = git("ls-tree", "-r", "--name-only", commit, cwd=repository).decode().split()
    return {name: git("show", f"{commit}:{name}", cwd=repository).decode() for name in names}


def test_a_commit_has_what_the_workspace_has(root: Path, tmp_path: Path) -> None:
    taken = Snapshots(root, tmp_path / "own")
    there = unpacked(tmp_path / "there", taken.pack())
    assert files(there, taken.base) == {
        ".gitignore": "ignored\ndata\n",
        "kept": "kept as committed",
        "edited": "edited later",
        "staged": "staged, and edited after that",
        "new": "untracked",
    }
    assert files(there, taken.head) == {
        ".gitignore": "ignored\ndata\n",
        **{name: f"{name} as committed" for name in ("kept", "edited", "staged", "removed")},
    }


def test_the_users_repository_stays_as_it_is(root: Path, tmp_path: Path) -> None:
    before = state(root)
    taken = Snapshots(root, tmp_path / "own")
    (root / "new").write_text("again")
    taken.pack(taken.take(["data/a"]))
    assert state(root) == {**before, str(root / "new"): b"again"}


def test_a_later_commit_brings_only_what_is_new(root: Path, tmp_path: Path) -> None:
    taken = Snapshots(root, tmp_path / "own")
    assert taken.take([]) == taken.base
    first = taken.pack()
    (root / "kept").write_text("changed by a stage")
    later = taken.take(["data/a"])
    rest = taken.pack(later)
    there = unpacked(tmp_path / "there", first, rest)
    expected = {**files(there, taken.base), "kept": "changed by a stage", "data/a": "an input of a stage"}
    assert files(there, later) == expected
    count = int.from_bytes(rest[8:12], "big")  # of the pack's objects: a commit, two directories, two files
    assert count == 5


def test_the_same_workspace_is_the_same_commit(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = []
    for name in ("ann", "bob"):
        monkeypatch.setenv("GIT_AUTHOR_NAME", name)
        monkeypatch.setenv("GIT_AUTHOR_DATE", f"2020-01-0{len(name) - 2} 00:00:00")
        commits.append(Snapshots(root, tmp_path / name).take(["data/a"]))
    assert commits[0] == commits[1]
    (root / "new").write_text("another")
    assert Snapshots(root, tmp_path / "c").take(["data/a"]) != commits[0]


def test_variables_of_git_do_not_lead_elsewhere(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a hook, where Git sets them."""
    expected = Snapshots(root, tmp_path / "a").base
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nowhere/index"))
    assert Snapshots(root, tmp_path / "b").base == expected


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    git("init", "-q", cwd=tmp_path)
    with pytest.raises(UserError, match="has no commit, from which nodes could start: `git commit` something first"):
        Snapshots(tmp_path, tmp_path / "own")


def test_an_error_of_git_is_named(root: Path) -> None:
    with pytest.raises(UserError, match=r"git cat-file failed in .*: fatal: Not a valid object name nothing"):
        git("cat-file", "-e", "nothing", cwd=root)
