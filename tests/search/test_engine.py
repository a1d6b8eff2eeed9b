"""The search: rounds, moves, interruption and resumption, and the single use of the test images."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial

from search.small_search import PARAMS, Said, changed, data, load, one_round
from small import PARAMS as PIPELINE
from trainlab import config
from trainlab.config import RunConfig, reading
from trainlab.data import stored
from trainlab.data.sources.digits import Digits
from trainlab.data.stored import Data, Dataset
from trainlab.errors import UserError
from trainlab.search import engine
from trainlab.search.params import code_of
from trainlab.training import model_file
from trainlab.training.loop import Row
from trainlab.training.replicas import train

pytestmark = pytest.mark.slow

RATE = PARAMS["space"]["lr"]
Find = Callable[..., tuple[engine.Outcome, Said]]


class Stopped(BaseException):
    """Ends a process in these tests where no code of the project can catch it."""


CODES: dict[frozenset[type], str] = {}


@pytest.fixture(autouse=True)
def cached_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute the fingerprint of the same components once: it takes longer than a trial."""
    compute = code_of

    def cached(runs: Iterable[RunConfig]) -> str:
        runs = list(runs)
        used = frozenset(type(component) for run in runs for component in run.components())
        if used not in CODES:
            CODES[used] = compute(runs)
        return CODES[used]

    monkeypatch.setattr(engine, "code_of", cached)


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Return a function that runs a search; trials are kept from one call to the next."""

    def run(
        content: dict[str, Any], images: Data | None = None, storage: str = "trials.db", said: Said | None = None
    ) -> tuple[engine.Outcome, Said]:
        said = said or Said()
        return engine.run(load(tmp_path, content), images or data(), tmp_path / storage, said), said

    return run


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """Return the configuration of each training, in order."""
    configs: list[RunConfig] = []

    def counted(config: RunConfig, *arguments: Any, **options: Any) -> model_file.TrainedModel:
        configs.append(config)
        return train(config, *arguments, **options)

    monkeypatch.setattr(engine, "train", counted)
    return configs


def outputs(outcome: engine.Outcome) -> tuple[str, str, dict[str, Any]]:
    return outcome.table().to_csv(), outcome.winner.to_yaml(), outcome.result()


def best_of(sweep: engine.Sweep) -> FrozenTrial:
    return min(sweep.trials, key=lambda trial: trial.values)


# Rounds


def test_rounds_shrink_the_ranges_around_the_best_value_so_far(find: Find, trained: list[RunConfig]) -> None:
    outcome, said = find(changed(moves=0))
    first, second = outcome.sweeps
    assert [len(sweep.trials) for sweep in outcome.sweeps] == [4, 5]
    best = best_of(first)
    assert first.space["lr"].around(first.values(best)["lr"], 0.5) == second.space["lr"]
    assert second.space["optimizer.weight_decay"].ends() == [1e-5, 1e-2]  # not varied before: the whole range
    assert [run.subset for run in trained] == [12] * 4 + [0] * 5 + [0]
    assert [run.epochs for run in trained] == [3] * 4 + [2] * 5 + [2]
    assert [run.validation for run in trained] == [0.25] * 9 + [0]
    assert [run.seed for run in trained] == [0] * 10  # the same split and initial weights: only the values differ
    assert len(said.trials()) == 9
    table = outcome.table()
    assert list(table["round"]) == [1] * 4 + [2] * 5
    assert list(table["lr"]) == [run.lr for run in trained[:9]]
    assert list(table["optimizer.weight_decay"][4:]) == [run.optimizer.weight_decay for run in trained[4:9]]


def test_a_key_that_a_round_does_not_vary_has_its_best_value_so_far(find: Find, trained: list[RunConfig]) -> None:
    rounds = [PARAMS["rounds"][0], {**PARAMS["rounds"][1], "vary": ["optimizer.weight_decay", "batch_size"]}]
    outcome, _ = find(changed(rounds=rounds, moves=0))
    first, _ = outcome.sweeps
    best = first.values(best_of(first))["lr"]
    assert {run.lr for run in trained[4:]} == {best}
    assert outcome.winner.values["lr"] == best
    assert list(outcome.table()["lr"][4:]) == [best] * 5


def test_a_round_can_compare_trials_by_the_training_loss(find: Find) -> None:
    outcome, _ = find(one_round(judged_by="train_loss", subset=12))
    losses = outcome.table().set_index("trial")["train_loss"]
    assert outcome.winner.number == losses.idxmin()


def test_a_range_moves_outward_while_the_best_value_is_at_its_edge(find: Find) -> None:
    low = {"lr": {**RATE, "low": 1e-5, "high": 1e-3}}
    outcome, said = find({**one_round(trials=6), "space": low, "moves": 2, "edge": 0.3})
    ranges = [sweep.space["lr"] for sweep in outcome.sweeps]
    assert [sweep.move for sweep in outcome.sweeps] == [0, 1, 2]
    first, second, third = (float(one.ends()[1]) for one in ranges)
    assert first < second < third
    moves = [line for line in said.lines if "is at the upper edge" in line]
    assert f"the range moves to {ranges[1]}, and the round runs again" in moves[0]
    assert float(outcome.winner.values["lr"]) > 1e-3
    assert outcome.winner.metrics["validation_loss"] == outcome.table()["validation_loss"].min()


def test_no_move_is_made_beyond_the_number_of_moves(find: Find) -> None:
    low = {"lr": {**RATE, "low": 1e-5, "high": 1e-3}}
    outcome, said = find({**one_round(trials=6), "space": low, "moves": 0, "edge": 0.3})
    assert len(outcome.sweeps) == 1
    assert "no moves are left: raise `moves`" in said.lines[-1]


def test_a_range_does_not_move_to_values_that_a_run_cannot_have(find: Find) -> None:
    momentum = {"optimizer.momentum": {"name": "uniform", "low": 0.9, "high": 0.99}}
    base = {**PARAMS["base"], "optimizer": "sgd", "lr": 1e-4}
    outcome, said = find(
        {**one_round(vary=["optimizer.momentum"], trials=8), "space": momentum, "base": base, "edge": 0.45}
    )
    assert len(outcome.sweeps) == 1
    [line] = [line for line in said.lines if "the range stays, because" in line]
    assert "optimizer.momentum" in line


# Samplers and pruning


def test_a_grid_tries_every_combination_once(find: Find) -> None:
    space = {"lr": RATE, "batch_size": PARAMS["space"]["batch_size"]}
    content = one_round(vary=["lr", "batch_size"], trials=50, epochs=1)
    outcome, _ = find({**content, "space": space, "sampler": {"name": "grid", "points": 3}, "moves": 0})
    found = outcome.table()[["lr", "batch_size"]]
    assert sorted(map(tuple, found.values)) == [(lr, size) for lr in (1e-3, 1e-2, 1e-1) for size in (4, 8)]


def test_tpe_draws_other_values_than_random_after_its_startup(find: Find) -> None:
    independent, _ = find(one_round(trials=8), storage="random.db")
    guided, _ = find({**one_round(trials=8), "sampler": {"name": "tpe", "startup": 4}}, storage="tpe.db")
    first, second = (outcome.table()["lr"][:8] for outcome in (independent, guided))
    assert len(set(second)) == 8
    assert list(first[:4]) == list(second[:4])
    assert list(first[4:]) != list(second[4:])


def test_a_trial_worse_than_the_median_is_stopped_early(find: Find, trained: list[RunConfig]) -> None:
    pruned = {"pruner": {"name": "median", "startup": 2, "warmup": 0.5}}
    outcome, said = find({**one_round(trials=10, epochs=4), **pruned, "moves": 0})
    table = outcome.table()
    assert set(table["state"]) == {"complete", "pruned"}
    assert table[table["state"] == "pruned"]["epochs"].between(2, 3).all()
    assert (table[table["state"] == "complete"]["epochs"] == 4).all()
    assert list(table["state"][:2]) == ["complete"] * 2
    assert any("stopped after 2 epochs" in line for line in said.lines)


def test_a_trial_that_diverges_has_failed_and_the_search_continues(find: Find) -> None:
    wild = {"lr": {"name": "choice", "values": [1e-2, 1e30]}}
    outcome, said = find({**one_round(trials=6), "space": wild})
    table = outcome.table().set_index("trial")
    assert set(table["state"][table["lr"] == 1e30]) == {"failed"}
    assert set(table["state"][table["lr"] == 1e-2]) == {"complete"}
    assert outcome.winner.values == {"lr": 1e-2}
    assert any("failed: run best: the loss is" in line for line in said.lines)


def test_values_that_cannot_be_combined_make_a_trial_fail(find: Find) -> None:
    base = {**PARAMS["base"], "schedule": {"name": "exponential", "gamma": 0.8}}
    space = {
        "schedule": {"name": "choice", "values": ["exponential", "constant"]},
        "schedule.gamma": {"name": "uniform", "low": 0.5, "high": 0.9},
    }
    outcome, said = find({**one_round(vary=list(space), trials=6), "base": base, "space": space, "moves": 0})
    table = outcome.table()
    assert list(table["state"] == "failed") == list(table["schedule"] == "constant")
    assert set(table["schedule"]) == {"exponential", "constant"}
    assert any("failed: schedule.gamma is not a parameter" in line for line in said.lines)


def test_a_round_without_a_complete_trial_is_an_error(find: Find) -> None:
    wild = {"lr": {"name": "uniform", "low": 1e29, "high": 1e30}}
    with pytest.raises(
        UserError, match=r"round 1 \(rate\): all 4 trials failed; the last error: run best: the loss is"
    ):
        find({**one_round(), "space": wild})


# Several trials at the same time


class Several:
    """Four trials at the same time, which end in an order of their own."""

    jobs, elsewhere = 4, True

    def __init__(self, images: Data) -> None:
        self._images, self._threads, self._count = images, ThreadPoolExecutor(1), 0
        self._held: list[Callable[[], None]] = []

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._held.insert(0, lambda: future.set_result(task(self._images, *arguments)))
        if task is engine.finish or len(self._held) == self.jobs:
            self.release()
        elif len(self._held) == 1:
            self._threads.submit(self._later)
        return future

    def release(self) -> None:
        """Run the latest first."""
        held, self._held = self._held, []
        for run in held:
            run()

    def _later(self) -> None:
        time.sleep(0.5)  # a last cohort that is not full
        self.release()


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"sampler": {"name": "grid", "points": 3}},
        {"sampler": {"name": "tpe", "startup": 2}, "cohort": 3},
        {"pruner": {"name": "median", "startup": 1, "warmup": 0.5}, "cohort": 3},
    ],
)
def test_the_order_in_which_trials_end_does_not_matter(find: Find, tmp_path: Path, own: dict[str, Any]) -> None:
    content = {**one_round(trials=8, epochs=4), "moves": 0, **own}
    serial, _ = find(content)
    several = engine.run(load(tmp_path, content), data(), tmp_path / "several.db", Said(), Several(data()))
    assert outputs(several) == outputs(serial)


def test_a_cohort_of_one_is_the_default(find: Find, trained: list[RunConfig]) -> None:
    content = {**one_round(), "sampler": {"name": "tpe", "startup": 2}, "moves": 0}
    find(content)
    ran = len(trained)
    find({**content, "cohort": 1})
    assert len(trained) == ran
    find({**content, "cohort": 2})
    assert len(trained) >= ran + 4


def test_a_trial_that_was_trained_elsewhere_did_not_kill_this_process(find: Find, tmp_path: Path) -> None:
    class Gone(Several):
        jobs = 1

        def submit(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
            raise Stopped

    content = {**one_round(), "moves": 0}
    for _ in range(3):
        with pytest.raises(Stopped):
            engine.run(load(tmp_path, content), data(), tmp_path / "trials.db", Said(), Gone(data()))
    resumed, _ = find(content, storage="trials.db")
    assert outputs(resumed) == outputs(find(content, storage="whole.db")[0])


# Interruption


def test_a_finished_search_runs_no_trial_again(find: Find, trained: list[RunConfig]) -> None:
    first, said = find(PARAMS)
    ran = len(trained)
    again, quiet = find(PARAMS)
    assert outputs(again) == outputs(first)
    assert len(trained) == ran
    assert said.trials()
    assert not quiet.trials()


@pytest.mark.parametrize("sampler", ["random", {"name": "tpe", "startup": 2}, {"name": "grid", "points": 3}])
def test_a_search_that_is_killed_several_times_has_the_same_outcome(
    find: Find, monkeypatch: pytest.MonkeyPatch, sampler: Any
) -> None:
    content = changed(sampler=sampler, moves=0)
    whole, uninterrupted = find(content, storage="whole.db")
    kills = [0, 2, 5, 7]  # by the number of finished trials
    done = 0

    def killed(config: RunConfig, *arguments: Any, **options: Any) -> model_file.TrainedModel:
        nonlocal done
        if done in kills:
            kills.remove(done)
            raise Stopped
        done += 1
        return train(config, *arguments, **options)

    monkeypatch.setattr(engine, "train", killed)
    said = Said()
    for _ in range(4):
        with pytest.raises(Stopped):
            find(content, storage="killed.db", said=said)
    resumed, _ = find(content, storage="killed.db", said=said)
    assert outputs(resumed) == outputs(whole)
    assert said.trials() == uninterrupted.trials()


def test_a_trial_that_kills_its_process_twice_has_failed(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(config: RunConfig, *arguments: Any, **options: Any) -> model_file.TrainedModel:
        if config.batch_size == 8:
            raise Stopped
        return train(config, *arguments, **options)

    monkeypatch.setattr(engine, "train", out_of_memory)
    content = {**one_round(vary=["batch_size"], trials=4), "space": {"batch_size": PARAMS["space"]["batch_size"]}}
    outcome = None
    for _ in range(20):
        try:
            outcome, _ = find(content)
            break
        except Stopped:
            continue
    assert outcome is not None
    table = outcome.table()
    assert {"complete", "failed"} == set(table["state"])
    assert set(table["batch_size"][table["state"] == "failed"]) == {8}
    assert outcome.winner.values == {"batch_size": 4}


def test_ctrl_c_is_not_a_failure(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = find(one_round(), storage="whole.db")
    with monkeypatch.context() as patch:
        patch.setattr(engine, "train", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                find(one_round())
    resumed, _ = find(one_round())
    assert outputs(resumed) == outputs(whole)


def test_more_trials_extend_a_round_and_keep_the_finished_ones(find: Find, trained: list[RunConfig]) -> None:
    find(changed(moves=0))
    ran = len(trained)
    rounds = [PARAMS["rounds"][0], {**PARAMS["rounds"][1], "trials": 7}]
    outcome, _ = find(changed(moves=0, rounds=rounds))
    assert len(outcome.table()) == 11
    assert len(trained) - ran in (2, 3)  # the new ones, and the winner where it is one of them


@pytest.mark.parametrize(
    "own",
    [
        {"seed": 1},
        {"validation": 0.5},
        {"base": {**PARAMS["base"], "inputs": "raw"}},
        {"space": {"lr": {**RATE, "high": 0.2}}},
        {"pruner": {"name": "median", "startup": 2, "warmup": 0.5}},
    ],
)
def test_other_parameters_do_not_continue_the_old_trials(
    find: Find, trained: list[RunConfig], own: dict[str, Any]
) -> None:
    find(one_round(trials=2))
    del trained[:]
    find({**one_round(trials=2), "moves": 0, **own})
    assert len(trained) >= 2  # and the winner again, where it is another


def test_other_images_and_other_code_do_not_continue_the_old_trials(
    find: Find, trained: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {**one_round(trials=2), "moves": 0}
    find(content)
    images = data()
    find(content, Data(replace(images.train, images=255 - images.train.images), images.test))
    assert len(trained) == 6
    monkeypatch.setattr(engine, "code_of", lambda runs: "another")
    find(content)
    assert len(trained) == 9


def test_two_searches_do_not_share_a_file(find: Find, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    problems: list[str] = []

    def another(config: RunConfig, *arguments: Any, **options: Any) -> model_file.TrainedModel:
        thread = threading.Thread(target=lambda: problems.append(refused()))
        thread.start()
        thread.join()
        return train(config, *arguments, **options)

    def refused() -> str:
        with pytest.raises(UserError) as error:
            engine.run(load(tmp_path, one_round()), data(), tmp_path / "trials.db", Said())
        return str(error.value)

    monkeypatch.setattr(engine, "train", another)
    find({**one_round(trials=1), "moves": 0}, storage="trials.db")
    assert all(f"another search uses {tmp_path / 'trials.db'}" in problem for problem in problems)
    assert problems


def test_a_damaged_file_is_one_line(find: Find, tmp_path: Path) -> None:
    (tmp_path / "trials.db").write_text("this is no database" * 100)
    with pytest.raises(UserError, match=r"trials\.db cannot be used \(file is not a database\).*delete it"):
        find(one_round(), storage="trials.db")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (one_round(subset=37), r"rounds\[0\]\.subset is 37, but validation leaves only 36 training images: lower"),
        ({**one_round(), "base": {**PARAMS["base"], "model": "tf_cnn"}}, "at least 18×18"),
    ],
)
def test_what_would_fail_every_trial_is_reported_before_the_first(
    find: Find, trained: list[RunConfig], content: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        find(content, data(size=16))
    assert trained == []


def test_a_validation_split_that_leaves_no_training_images_is_one_line(find: Find) -> None:
    with pytest.raises(UserError) as caught:
        find({**one_round(), "validation": 0.99})
    assert "validation is 0.99" in str(caught.value)
    assert "\n" not in str(caught.value)


# The winner


def test_the_test_images_score_the_winner_only_and_once(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Dataset | None] = []
    scored: list[tuple[int, int]] = []
    plain = model_file.TrainedModel.scores

    def watched(config: RunConfig, images: Data, **options: Any) -> model_file.TrainedModel:
        seen.append(images.test)
        return train(config, images, **options)

    def counted(self: model_file.TrainedModel, images: Dataset, **options: Any) -> Any:
        scored.append((self.config.epochs, len(images.labels)))
        return plain(self, images, **options)

    monkeypatch.setattr(engine, "train", watched)
    monkeypatch.setattr(model_file.TrainedModel, "scores", counted)
    outcome, _ = find(PARAMS)
    assert set(seen) == {None}
    assert scored == [(2, 12)]
    find(PARAMS)
    assert len(scored) == 1
    assert outcome.result()["test_images"] == 12
    assert outcome.result()["validation_images"] == 12


def test_the_pasted_winner_gives_the_reported_result(find: Find, tmp_path: Path) -> None:
    outcome, _ = find(PARAMS)
    path = tmp_path / "pasted.yaml"
    others = {key: value for key, value in PIPELINE.items() if key != "runs"}
    path.write_text(f"{reading.dump(others)}runs:\n{outcome.winner.to_yaml()}")
    run = config.resolve(config.load_params(path))["best"]
    assert run == outcome.winner.config
    assert (run.validation, run.subset, run.replicas) == (0, 0, 1)
    rows: list[Row] = []
    train(run, data(), on_epoch=rows.append)
    assert rows[-1]["test_accuracy"] == pytest.approx(outcome.result()["test_accuracy"])
    assert rows[-1]["test_loss"] == pytest.approx(outcome.result()["test_loss"], rel=1e-5)


# Digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Return scikit-learn's digits, as the pipeline stores them."""
    directory = tmp_path_factory.mktemp("digits")
    source = Digits()
    source.fetch(directory)
    stored.save(directory / "normalized", *source.read(directory))
    return stored.load_data(directory / "normalized")


@pytest.mark.faults
def test_it_comes_within_5_percent_of_a_fine_grid_from_a_range_without_the_best_rate(find: Find, digits: Data) -> None:
    model = {"name": "three_layer", "num_filters": 6, "filter_size": 3, "hidden_dim": 64}
    base = {**PARAMS["base"], "batch_size": 64, "model": model, "schedule": "cosine"}
    longest = {"vary": ["lr"], "epochs": 3, "subset": 400, "judged_by": "validation_loss"}
    rounds = [
        {"name": "memorize", "vary": ["lr"], "trials": 5, "epochs": 6, "subset": 100, "judged_by": "train_loss"},
        {**longest, "name": "coarse", "trials": 6, "epochs": 2},
        {**longest, "name": "fine", "trials": 12, "shrink": 0.5},
    ]
    away = {"lr": {**RATE, "low": 1e-5, "high": 3e-4}}
    search = changed(base=base, rounds=rounds, space=away, edge=0.25, moves=2)
    found, said = find(search, digits, storage="search.db")

    grid = changed(
        base=base, rounds=[{**longest, "name": "grid", "trials": 12}], sampler={"name": "grid", "points": 12}
    )
    fine = {"lr": {**RATE, "low": 1e-3, "high": 3e-2}}
    best, _ = find({**grid, "space": fine, "moves": 0}, digits, storage="grid.db")

    assert float(best.winner.values["lr"]) > 3e-3  # ten times as high as the search's range
    losses = [outcome.winner.metrics["validation_loss"] for outcome in (found, best)]
    assert losses[0] <= 1.05 * losses[1], "\n".join([*said.lines, str(losses)])
