"""Search for good hyperparameters, from coarse to fine, on a validation split of the training images."""

import fcntl
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
import torch
from optuna import Study, Trial
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from pandas import DataFrame
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from trainlab.config import RunConfig, reading
from trainlab.config.messages import explain
from trainlab.data.stored import Data, Dataset
from trainlab.errors import UserError
from trainlab.evaluation.metrics import evaluate
from trainlab.search.params import Fixed, Round, Search, code_of
from trainlab.search.space import Dimension, Value
from trainlab.training import devices, memory
from trainlab.training.loop import Row, Step
from trainlab.training.progress import SearchProgress
from trainlab.training.replicas import train

METRICS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
MAX_KILLS = 2  # a trial that kills its process this often (out of memory, for example) has failed
KILLED = f"its process was killed {MAX_KILLS} times"


@dataclass(frozen=True)
class Sweep:
    """One pass of a round, with its ranges at that time.

    Parameters
    ----------
    number, round
        Number of the round, from 1, and its parameters.
    move
        Number of times that its ranges had moved before.
    space
        The dimensions that it varies, by key.
    kept
        The best values of the rounds before, for keys that it does not vary.
    trials
        The finished trials, as Optuna stores them.
    """

    number: int
    round: Round
    move: int
    space: dict[str, Dimension]
    kept: dict[str, Value]
    trials: list[FrozenTrial]

    def values(self, trial: FrozenTrial) -> dict[str, Value]:
        """Return the values that a trial was trained with, by key."""
        return {**self.kept, **{key: range_.value(trial.params[key]) for key, range_ in self.space.items()}}

    @property
    def title(self) -> str:
        """The round's number and name, and how often its ranges have moved."""
        moved = f", moved {self.move}×" if self.move else ""
        return f"round {self.number} ({self.round.name}{moved})"


@dataclass(frozen=True)
class Winner:
    """The best trial of the last round, trained again on all training images and scored on the test images.

    Parameters
    ----------
    config
        The run that was trained again: without `validation` and without `subset`.
    values
        The values found, by key of the space.
    sweep, number
        The pass that contains the trial, and the trial's number in it, from 1.
    metrics
        The trial's metrics after its last epoch, by column of the history.
    test
        ``loss`` (nats) and ``accuracy`` on the test images, which only the winner is scored on.
    validation_images, test_images
        Number of images behind these metrics.
    trained_on
        The device, in words.
    """

    config: RunConfig
    values: dict[str, Value]
    sweep: Sweep
    number: int
    metrics: dict[str, float]
    test: dict[str, float]
    validation_images: int
    test_images: int
    trained_on: str

    def to_yaml(self) -> str:
        """Return the run as YAML that can be pasted under `runs:` of params.yaml."""
        own = {key: value for key, value in self.config.to_dict().items() if key not in ("run", "code")}
        text = reading.dump({self.config.run: own}, flow_leaves=True)
        return "".join(f"  {line}\n" for line in text.splitlines())


@dataclass(frozen=True)
class Outcome:
    """The result of a search."""

    sweeps: list[Sweep]
    winner: Winner

    def table(self) -> DataFrame:
        """Return one row per trial: ``round, move, trial`` (from 1), ``state``, ``epochs`` done, metrics, values."""
        keys = list(dict.fromkeys(key for sweep in self.sweeps for key in sweep.space))
        rows = []
        for sweep in self.sweeps:
            for number, trial in enumerate(sweep.trials, 1):
                metrics = trial.user_attrs.get("metrics", {})
                rows.append(
                    {
                        "round": sweep.number,
                        "move": sweep.move,
                        "trial": number,
                        "state": STATES[trial.state],
                        "epochs": len(trial.intermediate_values),
                        **{name: metrics.get(name) for name in METRICS},
                        **sweep.values(trial),
                    }
                )
        columns = ["round", "move", "trial", "state", "epochs", *METRICS, *keys]
        return DataFrame(rows, columns=columns).astype(dict.fromkeys(METRICS, float))

    def ranges(self) -> list[dict[str, Any]]:
        """Return ``round``, ``move`` and ``space`` of each pass: its dimensions by key, in the form of params.yaml."""
        return [
            {
                "round": sweep.number,
                "move": sweep.move,
                "space": {key: range_.model_dump(exclude_none=True) for key, range_ in sweep.space.items()},
            }
            for sweep in self.sweeps
        ]

    def result(self) -> dict[str, Any]:
        """Return the winner's values and metrics, and the number of images behind them."""
        winner = self.winner
        return {
            "values": winner.values,
            "round": winner.sweep.number,
            "move": winner.sweep.move,
            "trial": winner.number,
            "epochs": winner.config.epochs,
            "validation_loss": winner.metrics["validation_loss"],
            "validation_accuracy": winner.metrics["validation_accuracy"],
            "validation_images": winner.validation_images,
            "test_loss": winner.test["loss"],
            "test_accuracy": winner.test["accuracy"],
            "test_images": winner.test_images,
            "replicas": 1,
            "trained_on": winner.trained_on,
        }

    def seconds(self) -> float:
        """Return the duration of all trials, without the interrupted ones."""
        return sum(_seconds(trial) for sweep in self.sweeps for trial in sweep.trials)


class Workplace(Protocol):
    """Where trials are trained.

    Parameters
    ----------
    jobs
        Number of trials that are trained at the same time, ≥ 1.
    elsewhere
        Whether they are trained in other processes, so that the end of this one says nothing about them.
    """

    jobs: int
    elsewhere: bool

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call ``task(data, *arguments)``, :func:`measure` or :func:`finish`, with the images of the search.

        The future raises what the task raised, or a :class:`UserError` if the task ended its process.
        """


class Here:
    """One trial at a time, in this process.

    Parameters
    ----------
    data
        The images of the search.
    progress
        Is told each step.
    """

    jobs, elsewhere = 1, False

    def __init__(self, data: Data, progress: SearchProgress) -> None:
        self._data, self._progress = data, progress

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call the task at once."""
        future: Future[Any] = Future()
        try:
            future.set_result(task(self._data, *arguments, on_step=self._progress.step))
        except Exception as error:
            future.set_exception(error)
        return future


def run(
    settings: Search, data: Data, storage: Path, progress: SearchProgress, workplace: Workplace | None = None
) -> Outcome:
    """Run all rounds, then train and test the winner.

    A finished trial is stored at once and is not run again unless something changes that its result depends on. The
    outcome is a function of the other arguments, no matter how often the search was interrupted and resumed, and where and
    in which order its trials were trained.

    Parameters
    ----------
    settings
        What to search.
    data
        Training images, a part of which is held out for validation, and test images, used for the winner only.
    storage
        Optuna's SQLite file; created if it is missing.
    progress
        Receives one line per trial.
    workplace
        Where trials are trained; by default :class:`Here`.

    Raises
    ------
    UserError
        If a round has no trial that completes, or if the file cannot be used.
    """
    assert data.test is not None
    _check(settings, data.train)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _opened(storage) as store:
        work = _Work(settings, data, store, progress, workplace or Here(data, progress))
        kept: dict[str, Value] = {}
        space: dict[str, Dimension] = dict(settings.space)
        sweeps: list[Sweep] = []
        for number, one in enumerate(settings.rounds, 1):
            for key in one.vary:
                if one.shrink and key in kept:
                    space[key] = space[key].around(kept[key], one.shrink)
            for move in range(settings.moves + 1):
                sweeps.append(work.sweep(number, move, {key: space[key] for key in one.vary}, kept))
                found, best = _best([sweep for sweep in sweeps if sweep.number == number])
                values = found.values(best)
                moved = work.moved(sweeps[-1], values)
                if move < settings.moves:
                    space |= moved
                if not moved:
                    break
            kept = {**kept, **values}
        winner = work.winner(kept, found, best)
    return Outcome(sweeps, winner)


class _Work:
    """The state that all rounds of one search share."""

    def __init__(
        self, settings: Search, data: Data, store: RDBStorage, progress: SearchProgress, workplace: Workplace
    ) -> None:
        self._settings, self._data, self._store, self._progress = settings, data, store, progress
        self._workplace = workplace
        self._pixels = _digest(data.train)
        self._code = code_of(settings.ends())

    def sweep(self, number: int, move: int, space: dict[str, Dimension], kept: Mapping[str, Value]) -> Sweep:
        """Run the trials of a round that are not stored yet."""
        settings, one = self._settings, self._settings.rounds[number - 1]
        others = {key: value for key, value in kept.items() if key not in space}
        own = {"epochs": one.epochs, "subset": one.subset, "validation": settings.validation, "code": self._code}
        size = settings.cohort_size or one.trials
        content = {
            "run": settings.run(others, **own).to_dict(),
            "space": {key: range_.model_dump() for key, range_ in space.items()},
            "sampler": settings.sampler.model_dump(),
            "pruner": settings.pruner.model_dump() if settings.pruner else None,
            "seed": settings.seed,
            "judged_by": one.judged_by,
            **({"cohort": size} if settings.cohort_size and size > 1 else {}),
        }
        study = self._study(f"round {number}, move {move}", content)
        sweep = Sweep(number, one, move, space, others, [])
        self._announce(sweep, min(len(_finished(study)), one.trials))
        for first in range(0, one.trials, size):
            self._cohort(study, sweep, range(first, min(first + size, one.trials)), own)
        sweep.trials.extend(trial for place, trial in sorted(_finished(study).items()) if place < one.trials)
        return sweep

    def _cohort(self, study: Study, sweep: Sweep, places: range, own: Mapping[str, Any]) -> None:
        """Run the trials at these places of a round that are not stored yet: each knows the trials before the first of them.

        Their values and their early ends therefore do not depend on the order in which they end.
        """
        settings, one, jobs = self._settings, sweep.round, self._workplace.jobs
        distributions = {key: range_.distribution() for key, range_ in sweep.space.items()}
        pruner = settings.pruner.start(one.epochs) if settings.pruner else NopPruner()
        finished = _finished(study)
        known = [finished[place] for place in range(places.start) if place in finished]
        left = [place for place in places if place not in finished]
        trials: dict[Trial, int] = {}
        running: dict[Future[FrozenTrial], Trial] = {}
        try:
            while left or running:
                if not left or len(running) == jobs:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        trial = running.pop(future)
                        _store(study, trial, future)
                        self._progress.say(_line(sweep, _frozen(study, trial), trials.pop(trial) + 1))
                    continue
                place = left.pop(0)
                sampler = settings.sampler.start(sweep.space, place, (settings.seed, sweep.number, sweep.move))
                if sampler is None:
                    left = []
                    continue
                killed = _killed(study, place)
                study.sampler = Fixed(in_memory(known, sampler=sampler).ask(distributions).params)
                trial = study.ask(distributions)
                trials[trial] = place
                trial.set_user_attr("place", place)
                trial.set_user_attr("elsewhere", self._workplace.elsewhere)
                self._progress.trial(f"{sweep.title} trial {place + 1}/{one.trials}", one.epochs)
                try:
                    if killed >= MAX_KILLS:
                        raise UserError(KILLED)
                    config = settings.run(sweep.values(_frozen(study, trial)), **own)
                except (UserError, ValidationError) as error:  # values that are valid on their own
                    running[_failed(error)] = trial
                else:
                    running[self._workplace.submit(measure, config, one.judged_by, pruner, known)] = trial
        except KeyboardInterrupt:
            for trial in trials:
                trial.set_user_attr("stopped", True)
                study.tell(trial, state=TrialState.FAIL)
            raise

    def moved(self, sweep: Sweep, best: Mapping[str, Value]) -> dict[str, Dimension]:
        """Return the moved ranges of the keys whose best values are at an edge."""
        moved: dict[str, Dimension] = {}
        for key, range_ in sweep.space.items():
            edge = range_.edge(best[key], self._settings.edge)
            target = range_.around(best[key], 1)
            if not edge or target == range_:
                continue
            message = f"{sweep.title}: the best {key}, {best[key]:g}, is at the {edge} edge of {range_}"
            try:
                for end in target.ends():
                    self._settings.run({**best, key: end})
            except ValidationError as error:
                problem = next(explain(error, RunConfig))
                self._progress.say(f"{message}; the range stays, because {problem}")
                continue
            moved[key] = target
            if sweep.move < self._settings.moves:
                self._progress.say(f"{message}: the range moves to {target}, and the round runs again")
            else:
                self._progress.say(f"{message}, and no moves are left: raise `moves`, or start from another range")
        return moved

    def winner(self, values: dict[str, Value], sweep: Sweep, best: FrozenTrial) -> Winner:
        """Train the winner on all training images and score it on the test images, once."""
        config = self._settings.run(values, epochs=sweep.round.epochs)
        config = config.model_copy(update={"code": code_of([config])})
        test = self._data.test
        assert test is not None
        study = self._study("winner", {"run": config.to_dict(), "test": _digest(test)})
        if not study.trials:
            self._progress.trial("the winner, on all training images", config.epochs)
            found = self._workplace.submit(finish, config).result()
            study.add_trial(optuna.create_trial(value=found["test"]["loss"], user_attrs=found))
        stored = study.trials[0].user_attrs
        return Winner(
            config=config,
            values=values,
            sweep=sweep,
            number=[trial.number for trial in sweep.trials].index(best.number) + 1,
            metrics=best.user_attrs["metrics"],
            test=stored["test"],
            validation_images=_held_out(self._settings, self._data.train),
            test_images=len(test.labels),
            trained_on=stored["trained_on"],
        )

    def _study(self, title: str, content: Mapping[str, Any]) -> Study:
        """Return Optuna's study of this content: a stored one only if everything that its results depend on is the same."""
        text = json.dumps({**content, "images": self._pixels}, sort_keys=True)
        name = f"{title}, {hashlib.sha256(text.encode()).hexdigest()[:16]}"
        study = optuna.create_study(storage=self._store, study_name=name, load_if_exists=True)
        for trial in study.get_trials(states=[TrialState.RUNNING]):  # its process was killed
            study.tell(trial.number, state=TrialState.FAIL)
        return study

    def _announce(self, sweep: Sweep, done: int) -> None:
        one = sweep.round
        ranges = "; ".join(f"{key} {range_}" for key, range_ in sweep.space.items())
        images = f"{one.subset:,} images" if one.subset else "all images except the validation images"
        stored = f", {done} of them stored" if done else ""
        self._progress.say(
            f"{sweep.title}: {ranges}; {one.trials} trials{stored}, {_many(one.epochs, 'epoch')} of {images},"
            f" compared by {one.judged_by}"
        )


def _check(settings: Search, images: Dataset) -> None:
    """Raise an error for what would make every trial fail, whatever its values."""
    base = settings.run({})
    place = devices.prepare(base.device, base.threads)
    memory.check(base, images.shape, len(images.classes), place, images=1, count=1)
    left = len(images.labels) - _held_out(settings, images)
    for i, one in enumerate(settings.rounds):
        if one.subset > left:
            raise UserError(
                f"rounds[{i}].subset is {one.subset}, but validation leaves only {left} training images: lower one of them"
            )


def _held_out(settings: Search, images: Dataset) -> int:
    """Return the number of validation images."""
    return max(1, round(settings.validation * len(images.labels)))


@contextmanager
def _opened(path: Path) -> Iterator[RDBStorage]:
    """Open Optuna's storage for this process only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another search uses {path}: wait for it, or choose another file with --trials") from None
        try:
            yield RDBStorage(f"sqlite:///{path.resolve()}")
        except (StorageInternalError, SQLAlchemyError) as error:
            cause = str(error.__cause__ or error).splitlines()[0]
            raise UserError(
                f"{path} cannot be used ({cause}): make sure that its disk is not full; if the file is damaged, delete it"
                f" and search again"
            ) from error


def _finished(study: Study) -> dict[int, FrozenTrial]:
    """Return all trials except the interrupted ones, which run again, by their place in the round, from 0."""
    return {place: trial for place, trial in _placed(study) if not _interrupted(trial)}


def _placed(study: Study) -> list[tuple[int, FrozenTrial]]:
    """Return all trials that have ended, with their places; older files do not have them, and are in order."""
    placed: list[tuple[int, FrozenTrial]] = []
    done = 0
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            placed.append((trial.user_attrs.get("place", done), trial))
            done += not _interrupted(trial)
    return placed


def _interrupted(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and "problem" not in trial.user_attrs


def _killed(study: Study, place: int) -> int:
    """Return how often the process was killed during the trial at this place; Ctrl-C does not count."""
    trials = [trial for other, trial in _placed(study) if other == place and _interrupted(trial)]
    return sum("stopped" not in trial.user_attrs and not trial.user_attrs.get("elsewhere") for trial in trials)


def in_memory(known: Iterable[FrozenTrial], **options: Any) -> Study:
    """Return a study that is not stored, with these trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(**{"sampler": RandomSampler(), **options})
    study.add_trials(known)
    return study


def measure(
    data: Data,
    config: RunConfig,
    judged_by: str,
    pruner: BasePruner,
    known: Iterable[FrozenTrial],
    on_step: Callable[[Step], None] | None = None,
) -> FrozenTrial:
    """Train one trial.

    Parameters
    ----------
    data
        The images of the search.
    config
        What to train.
    judged_by
        The column of the history that trials are compared by.
    pruner, known
        What stops it early, and the trials that it is compared with.
    on_step
        Called after each step.

    Returns
    -------
    FrozenTrial
        How it ended, without its values: complete, pruned, or failed with the attribute ``problem``.
    """
    study = in_memory(known, pruner=pruner)
    trial = study.ask()

    def on_epoch(row: Row) -> None:
        loss, epoch = row[judged_by], int(row["epoch"])
        if not math.isfinite(loss):
            raise UserError(f"its {judged_by} is {loss} after epoch {epoch}")
        trial.set_user_attr("metrics", {name: row[name] for name in METRICS})
        trial.report(loss, epoch)
        if epoch < config.epochs and trial.should_prune():
            raise optuna.TrialPruned

    try:
        train(config, Data(data.train, None), on_epoch=on_epoch, on_step=on_step)
        study.tell(trial, trial.user_attrs["metrics"][judged_by])
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except (UserError, torch.OutOfMemoryError) as error:  # a loss that is not finite, or a batch that is too large
        _fail(study, trial, str(error).splitlines()[0])
    return _frozen(study, trial)


def finish(data: Data, config: RunConfig, on_step: Callable[[Step], None] | None = None) -> dict[str, Any]:
    """Train the winner on all training images; return its ``loss`` and ``accuracy`` on the test images, and the device."""
    assert data.test is not None
    trained = train(config, Data(data.train, None), on_step=on_step)
    metrics = evaluate(trained.scores(data.test), data.test.labels, data.test.classes)
    scores = {"loss": float(metrics.loss.mean()), "accuracy": float(metrics.accuracy.mean())}
    return {"test": scores, "trained_on": trained.describe()}


def _store(study: Study, trial: Trial, future: Future[FrozenTrial]) -> None:
    """Store how a trial ended."""
    try:
        result = future.result()
    except ValidationError as error:
        _fail(study, trial, next(explain(error, RunConfig)))
        return
    except UserError as error:
        _fail(study, trial, str(error))
        return
    for name, value in result.user_attrs.items():
        trial.set_user_attr(name, value)
    for epoch, loss in result.intermediate_values.items():
        trial.report(loss, epoch)
    study.tell(trial, result.value if result.state == TrialState.COMPLETE else None, state=result.state)


def _failed(error: Exception) -> Future[FrozenTrial]:
    future: Future[FrozenTrial] = Future()
    future.set_exception(error)
    return future


def _digest(images: Dataset) -> str:
    return hashlib.sha256(images.images.tobytes() + images.labels.tobytes()).hexdigest()


def _fail(study: Study, trial: Trial, problem: str) -> None:
    trial.set_user_attr("problem", problem)
    study.tell(trial, state=TrialState.FAIL)


def _frozen(study: Study, trial: Trial) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[trial.number]


def _best(sweeps: Sequence[Sweep]) -> tuple[Sweep, FrozenTrial]:
    """Return the best trial of a round, and the pass that contains it."""
    complete = [(sweep, trial) for sweep in sweeps for trial in sweep.trials if trial.state == TrialState.COMPLETE]
    if not complete:
        last = sweeps[-1]
        raise UserError(
            f"{last.title}: all {len(last.trials)} trials failed; the last error: {last.trials[-1].user_attrs['problem']}"
        )
    return min(complete, key=lambda found: found[1].values)


def _line(sweep: Sweep, trial: FrozenTrial, number: int) -> str:
    values = sweep.values(trial)
    drawn = "  ".join(f"{key} {values[key]}" for key in sweep.space)
    line = f"  {number:>3}/{sweep.round.trials}  {drawn}  "
    if "problem" in trial.user_attrs:
        return f"{line}failed: {trial.user_attrs['problem']}"
    metrics = trial.user_attrs["metrics"]
    done = (
        f"  stopped after {_many(len(trial.intermediate_values), 'epoch')}" if trial.state == TrialState.PRUNED else ""
    )
    return (
        f"{line}training loss {metrics['train_loss']:.4f}  validation loss {metrics['validation_loss']:.4f}"
        f"  accuracy {metrics['validation_accuracy']:.2%}{done}  {_seconds(trial):.1f} s"
    )


def _seconds(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration else 0.0


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
