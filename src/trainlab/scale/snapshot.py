"""What Git sees of a workspace, with uncommitted and untracked files, as commits that leave the user's repository as it is."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainlab.errors import UserError

PERSON = {f"GIT_{who}_{what}": "trainlab" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
DATE = {f"GIT_{who}_DATE": "@0 +0000" for who in ("AUTHOR", "COMMITTER")}  # the same workspace is the same commit


def git(*arguments: str, cwd: Path, environment: Mapping[str, str] | None = None, data: bytes | None = None) -> bytes:
    """Run Git and return its output.

    Raises
    ------
    UserError
        If it fails.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env={**kept, **PERSON, **DATE, **(environment or {})},
        input=data,
        capture_output=True,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise UserError(f"git {arguments[0]} failed in {cwd}: {lines[-1]}")
    return done.stdout


class Snapshots:
    """Commits of a workspace, made with an index and an object directory of their own.

    Parameters
    ----------
    root
        Directory of the Git repository.
    directory
        Where the index and the new objects are.
    """

    def __init__(self, root: Path, directory: Path) -> None:
        self._root = root
        try:
            self.head = git("rev-parse", "--verify", "HEAD", cwd=root).decode().strip()
        except UserError:
            raise UserError(
                f"{root} has no commit, from which nodes could start: `git commit` something first"
            ) from None
        objects, index = directory / "objects", directory / "index"
        objects.mkdir(parents=True)
        names = [git("rev-parse", "--git-path", name, cwd=root).decode().strip() for name in ("objects", "index")]
        theirs, stat = (root / name for name in names)
        if stat.exists():
            shutil.copyfile(stat, index)  # what it knows of unchanged files makes `git add` quick
        self._environment = {
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(theirs),
        }
        self._base_tree = self._tree([])
        self.base = self._commit(self._base_tree, self.head)

    def take(self, ignored: Sequence[str]) -> str:
        """Return a commit of what is in the workspace now.

        Parameters
        ----------
        ignored
            Paths, relative to the root, to take although Git ignores them.
        """
        tree = self._tree(ignored)
        # Its parent is the first commit, so that a pack of it leaves out what that one has.
        return self.base if tree == self._base_tree else self._commit(tree, self.base)

    def pack(self, commit: str | None = None) -> bytes:
        """Return a Git pack: of HEAD and the first commit, without history, or of what another commit has in addition."""
        words = ["--no-walk", self.head, self.base] if commit is None else [commit, f"^{self.base}"]
        listed = self._git("rev-list", "--objects", *words).decode().splitlines()
        names = "".join(f"{line.split()[0]}\n" for line in listed)
        return self._git("pack-objects", "--stdout", "-q", data=names.encode())

    def _tree(self, ignored: Sequence[str]) -> str:
        self._git("add", "-A")
        if ignored:
            self._git("add", "-f", "--", *ignored)
        return self._git("write-tree").decode().strip()

    def _commit(self, tree: str, parent: str) -> str:
        return self._git("commit-tree", tree, "-p", parent, "-m", "workspace").decode().strip()

    def _git(self, *arguments: str, data: bytes | None = None) -> bytes:
        return git(*arguments, cwd=self._root, environment=self._environment, data=data)
