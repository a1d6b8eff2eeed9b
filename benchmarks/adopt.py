"""Record new code with old results, where a change of the code was shown to change no result.

python benchmarks/adopt.py                # the main pipeline
python benchmarks/adopt.py studies        # a DVC project of its own; or search

`dvc commit` does the same, but needs every output at hand. This needs Git and dvc.lock only, so it works in a fresh clone
without a model. It adopts a stage if nothing changed but its code: the files under src/ and stages/ that it runs, and
configurations that differ in nothing but the fingerprint `code`. Anything else is refused, and nothing is recorded then.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from dvc.dependency.base import Dependency
from dvc.repo import Repo
from dvc.stage import PipelineStage
from rich.console import Console
from ruamel.yaml import YAML

CODE = ("src", "stages")  # directories of the Git repository
CONFIGURATIONS = {"configs", "resolved.yaml"}  # what `resolve` writes, fingerprints included


def main(
    project: Annotated[Path, typer.Argument(help="Directory of the DVC project.")] = Path(),
    base: Annotated[
        str, typer.Option(help="Revision with the old code [default: the last that changed dvc.lock].")
    ] = "",
) -> None:
    """Record the present code in dvc.lock, for stages of which nothing else changed. Compare the bytes first."""
    console = Console(highlight=False, soft_wrap=True)
    root = Path(git("rev-parse", "--show-toplevel"))
    project = project.resolve()
    base = base or git("log", "-1", "--format=%H", "--", str(project / "dvc.lock"))
    with checked_out(base) as old, chdir(project):  # DVC runs stages from its project only
        for place in {root, project}:  # a study depends on configurations of both
            run_resolve(place, old / place.relative_to(root))
        with Repo(str(project)) as repo:
            changes, refused = find_changes(repo, root, old)
            if refused:
                console.print(*refused, f"nothing is recorded: more than code changed since {base[:10]}", sep="\n")
                raise typer.Exit(1)
            with repo.lock:
                for stage, changed in changes:
                    adopt(stage, changed)
                    console.print(f"{stage.addressing}: {', '.join(dep.def_path for dep in changed)}")
    console.print(f"adopted {len(changes)} stages, whose results were computed with the code of {base[:10]}")


def git(*arguments: str) -> str:
    """Return what a Git command prints."""
    done = subprocess.run(("git", *arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Yield a temporary checkout of a revision."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / "old"
        git("worktree", "add", "--quiet", "--detach", str(place), revision)
        try:
            yield place
        finally:
            git("worktree", "remove", "--force", str(place))


def run_resolve(project: Path, old: Path) -> None:
    """Write the configurations of a project and of its old checkout, each by its own code. It is quick."""
    with chdir(project), Repo(str(project)) as repo:
        [stage] = [stage for stage in repo.index.stages if stage.name == "resolve"]
        repo.reproduce([f"{project / 'dvc.yaml'}:resolve"], single_item=True)
    done = subprocess.run(stage.cmd, shell=True, cwd=old, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{stage.cmd} failed in the old checkout:\n{done.stderr}")


def find_changes(repo: Repo, root: Path, old: Path) -> tuple[list[tuple[PipelineStage, list[Dependency]]], list[str]]:
    """Return the stages whose code changed, with the dependencies that hold it; and, in words, what else changed."""
    changes, refused = [], []
    for stage in repo.index.stages:
        changed = [dep for dep in stage.deps if dep.exists and dep.workspace_status()]
        problems = [problem for dep in changed for problem in other_changes(dep, root, old)]
        if not stage.deps or not any(dep.hash_info for dep in stage.deps):
            continue  # it has never run
        if stage.changed_stage():
            problems.append("its command or parameters")
        refused += [f"{stage.addressing}: {problem}" for problem in problems]
        if changed and not problems:
            changes.append((stage, changed))
    return changes, refused


def other_changes(dep: Dependency, root: Path, old: Path) -> Iterator[str]:
    """Yield what changed in a dependency beside code."""
    path = Path(dep.fs_path).resolve()
    name = path.relative_to(root) if path.is_relative_to(root) else path
    if name.parts[0] in CODE:
        return
    if CONFIGURATIONS.isdisjoint(name.parts):
        yield f"{dep.def_path} changed"
        return
    present, before = (sorted(file.relative_to(place) for file in files(place / name)) for place in (root, old))
    if present != before:
        yield f"{dep.def_path} has other runs"
        return
    for file in present:
        was, now = (settings(place / file) for place in (old, root))
        if differing := [key for key in {**was, **now} if was.get(key) != now.get(key)]:
            yield f"{file} differs in {', '.join(differing)}"


def files(path: Path) -> list[Path]:
    """Return a file, or all files in a directory."""
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path] * path.is_file()


def settings(path: Path) -> dict[str, Any]:
    """Return a configuration without the fingerprint of its code."""
    values: dict[str, Any] = YAML(typ="safe").load(path)
    return {key: value for key, value in values.items() if key != "code"}


def adopt(stage: PipelineStage, changed: list[Dependency]) -> None:
    """Record the present hashes of changed dependencies; those of the outputs stay."""
    for dep in changed:
        dep.save()
    stage.dump(update_pipeline=False)


if __name__ == "__main__":
    typer.run(main)
