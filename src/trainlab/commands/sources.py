"""Predictions that a command's argument names: of a run, of a run at a Git revision, or a file."""

import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from trainlab.commands.runs import SUFFIX, configurations, in_tables, predictions
from trainlab.config import reading
from trainlab.config.names import NAME
from trainlab.errors import UserError
from trainlab.evaluation import predicted_classes
from trainlab.evaluation.comparison import read_suite
from trainlab.evaluation.metrics import Predictions
from trainlab.evaluation.predicted_classes import PredictedClasses

MARGIN = 0.01  # of predictions that are of no suite
Loaded = TypeVar("Loaded", bound=Predictions | PredictedClasses)


@dataclass(frozen=True)
class Source:
    """Where the predictions are that an argument names.

    Parameters
    ----------
    name
        The argument.
    path
        The file, relative to the working directory; of a revision, to the root of the Git repository.
    suite
        The suite of the run; empty for a file.
    revision
        The Git revision; empty for the working tree.
    """

    name: str
    path: Path
    suite: str = ""
    revision: str = ""

    def load(self) -> Predictions | PredictedClasses:
        """Read the predictions, without scores if only Git has them.

        Raises
        ------
        UserError
            If the file is missing or damaged, or what Git has is of another configuration or code.
        """
        if self.revision:
            return self._load_from_revision()
        if self.path.is_file():
            return predicted_classes.load(self.path)
        if self.suite and (kept := in_git(self.path)).is_file():
            return self._of_present_configuration(kept)
        if self.suite:
            step = f"run `dvc pull {self.path}` if they were pushed, else `dvc repro {self.path}`"
        else:
            step = "name an existing file, or a run of params.yaml"
        raise UserError(f"{self.path} is missing: {step}")

    def load_classes(self) -> Predictions | PredictedClasses:
        """Read the predictions, without scores if Git has them: nothing is fetched then.

        Raises
        ------
        UserError
            As in :meth:`load`.
        """
        return (self._kept_at_revision() if self.revision else None) or self.load()

    def _of_present_configuration(self, path: Path) -> PredictedClasses:
        """Return the predicted classes that Git has if they are of the run's present configuration, else raise a UserError."""
        kept = PredictedClasses.load(path)
        configuration = Path("configs") / self.suite / f"{self.name}.yaml"
        recorded = _recorded(f"evaluate@{self.name}", f"evaluate_student@{self.name}")
        present = {self.path: kept.checksum}
        if configuration.is_file():  # else nothing was resolved: params.yaml is as it was
            present[configuration] = hashlib.md5(configuration.read_bytes(), usedforsecurity=False).hexdigest()
        if any(recorded.get(file.as_posix()) != checksum for file, checksum in present.items()):
            raise UserError(
                f"{path} was trained with other parameters or code than {self.name} has now: `dvc repro {self.path}` trains"
                f" it again; name the file to compare with it anyway"
            )
        return kept

    def _kept_at_revision(self) -> PredictedClasses | None:
        """Return the predicted classes that Git has at the revision, or None if it has none of these predictions."""
        files = _files(self.revision)
        if not self.suite or not files.exists(path := in_git(self.path).as_posix()):
            return None
        kept = self._read(path, files.read_bytes(path), PredictedClasses.load, "name another revision")
        return kept if kept.checksum == files.info(self.path.as_posix()).get("md5") else None

    def _load_from_revision(self) -> Predictions | PredictedClasses:
        files, path = _files(self.revision), self.path.as_posix()
        try:
            content = files.read_bytes(path)
        except Exception as error:  # each kind of remote has its own: botocore's NoCredentialsError, say
            if kept := self._kept_at_revision():
                return kept
            if not isinstance(error, FileNotFoundError):
                step = f"cannot be read ({_line(error)}): check it with `dvc fetch`"
            elif not (files.exists(path) and files.info(path).get("md5")):
                step = "is not in dvc.lock there: name a revision whose results are committed"
            else:
                step = (
                    f"is neither in the cache nor in the default remote: `dvc fetch --all-commits --remote NAME` gets it "
                    f"from another remote; else run `dvc repro` in a checkout of {self.revision}"
                )
            raise UserError(f"{self.name}: {path} {step}") from error
        load = PredictedClasses.load if predicted_classes.DIRECTORY in self.path.parts else Predictions.load
        return self._read(path, content, load, "run `dvc fetch --all-commits`")

    def _read(self, path: str, content: bytes, load: Callable[[Path], Loaded], step: str) -> Loaded:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / self.path.name
            file.write_bytes(content)
            try:
                return load(file)
            except UserError as error:
                raise UserError(f"{self.name}: {path} does not contain predictions, or is damaged: {step}") from error


def _recorded(*stages: str) -> dict[str, str]:
    """Return the checksums of the inputs and outputs of stages in dvc.lock, by path; of a stage that has not run, none.

    Raises
    ------
    UserError
        If dvc.lock is missing or damaged.
    """
    path, step = Path("dvc.lock"), "restore it with `git checkout dvc.lock`"
    content = reading.load(path, step).get("stages") or {}
    try:
        found = [stage for name in stages if (stage := content.get(name))]
        return {entry["path"]: entry.get("md5") for stage in found for entry in (*stage["deps"], *stage["outs"])}
    except (AttributeError, TypeError, KeyError):
        raise UserError(f"{path} is damaged: {step}") from None


def in_git(path: Path) -> Path:
    """Return the file with the predicted classes of a file of predictions, ``predictions/SUITE/RUN.safetensors``."""
    return path.parents[2] / predicted_classes.DIRECTORY / path.parent.name / path.name


def find(name: str) -> Source:
    """Return where the predictions are that an argument names.

    Parameters
    ----------
    name
        ``RUN``, ``REVISION:RUN``, ``PATH.safetensors`` or ``REVISION:PATH.safetensors``.

    Raises
    ------
    UserError
        If the argument has another form, or there is no such run or revision.
    """
    revision, colon, run = name.rpartition(":")
    if name.endswith(SUFFIX) and (not colon or Path(name).is_file()):
        return Source(name, Path(name))
    if colon and not revision:
        raise UserError(f"{name}: name a Git revision before the colon, such as HEAD{name}")
    if not NAME.fullmatch(run) and not run.endswith(SUFFIX):
        raise UserError(f"{name} is neither the name of a run nor a file that ends in {SUFFIX}")
    return _at_revision(name, revision, run) if colon else _in_workspace(run)


def compared_with(source: Source) -> Source:
    """Return the run that params.yaml names in ``against`` of a run.

    Raises
    ------
    UserError
        If there is none.
    """
    if source.revision or not source.suite:
        raise UserError(f"{source.name}: name what to compare it with; only runs of params.yaml have `against`")
    if against := read_suite(Path("configs") / source.suite).against.get(source.name):
        return find(against)
    raise UserError(f"params.yaml compares {source.name} with no other run: `trainlab compare {source.name} RUN` does")


def margin(source: Source) -> float:
    """Return the difference of two accuracies that matters, a fraction: that of the suite of a run, else 0.01."""
    configs = Path("configs") / source.suite
    return read_suite(configs).margin if source.suite and (configs / "_suite.yaml").is_file() else MARGIN


class Stored(NamedTuple):
    """Predictions at a revision, and their checksum in dvc.lock."""

    source: Source
    checksum: str


def are_revisions(*names: str) -> bool:
    """Return whether all arguments name Git revisions, and none of them a run of the working tree or a file."""
    files = (*Path("configs").glob("*/*.yaml"), *predictions())
    runs = {*in_tables(), *(path.stem for path in files)}
    return all(":" not in name and not name.endswith(SUFFIX) and name not in runs for name in names) and all(
        map(_is_revision, names)
    )


def _is_revision(name: str) -> bool:
    command = ("git", "rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:  # no Git
        return False


def runs_at(revision: str) -> dict[str, Stored]:
    """Return the predictions of all runs at a Git revision, by run; those that dvc.lock does not have are left out.

    Raises
    ------
    UserError
        If the revision is not one of a DVC project.
    """
    files, paths = _predictions(revision, revision)
    found = {}
    for path in paths:
        if checksum := files.info(path.as_posix()).get("md5"):
            source = Source(f"{revision}:{path.stem}", path, path.parent.name, revision)
            found[path.stem] = Stored(source, str(checksum))
    return found


def _in_workspace(run: str) -> Source:
    configs, scored = configurations(), predictions()
    kept = list(Path(predicted_classes.DIRECTORY).glob(f"*/*{SUFFIX}"))
    for files in (configs, scored, kept):  # a run that changed its suite has old predictions in another one
        if suites := sorted(path.parent.name for path in files if path.stem == run):
            break
    else:
        where = "configs/ and predictions/" if configs or scored else "this directory"
        step = "`dvc repro resolve` writes the runs of params.yaml, `dvc pull` gets committed results"
        raise UserError(f"no run {run!r} in {where}{_suggest(run, [*configs, *scored, *kept])}; {step}")
    path = Path("predictions", suites[0], run + SUFFIX)
    if len(suites) > 1:
        raise UserError(f"the suites {' and '.join(suites)} have a run {run}: name its file, such as {path}")
    return Source(run, path, suites[0])


def _at_revision(name: str, revision: str, run: str) -> Source:
    if run.endswith(SUFFIX):
        return Source(name, _here() / run, revision=revision)
    _, known = _predictions(name, revision)
    found = [path for path in known if path.stem == run]
    if not found:
        step = "name a revision whose dvc.lock has its predictions"
        raise UserError(f"{name}: no run {run!r} at {revision}{_suggest(run, known)}; {step}")
    return Source(name, found[0], found[0].parent.name, revision)


def _predictions(name: str, revision: str) -> tuple[Any, list[Path]]:
    """Return the files of the revision that an argument names, and which of them are predictions."""
    from dvc.exceptions import DvcException

    pattern = (_here() / "predictions/*" / f"*{SUFFIX}").as_posix()
    try:
        files = _files(revision)
        return files, [Path(path) for path in files.glob(pattern)]
    except DvcException as error:
        step = "`git log --oneline` lists commits, `git fetch` gets those of others"
        raise UserError(f"{name}: {_line(error)}; {step}") from error


def _here() -> Path:
    """Return the working directory, relative to the root of the Git repository."""
    return Path.cwd().relative_to(_root())


def _files(revision: str) -> Any:
    """Return the files of a Git revision, those that DVC tracks included."""
    return _revision_files(revision, _root(), Path.cwd())


@cache
def _revision_files(revision: str, root: Path, here: Path) -> Any:
    from dvc.api import DVCFileSystem

    # DVC finds a project below the root of the Git repository, such as studies/, only as a subrepository.
    return DVCFileSystem(str(root), rev=revision, subrepos=here != root)


def _root() -> Path:
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / ".git").exists():
            return directory
    raise UserError(f"{here} is in no Git repository: run this in a clone of the project")


def _suggest(run: str, files: Iterable[Path]) -> str:
    from trainlab.config.messages import suggest

    return suggest(run, sorted({path.stem for path in files}))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
