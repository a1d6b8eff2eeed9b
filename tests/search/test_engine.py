"""The search itself: rounds, moves, stopping and going on, and the one look at the test images."""

import threading
from dataclasses import replace

import pytest
import yaml

from search.small_search import PARAMS, Said, changed, data, load, one_round
from small import PARAMS as PIPELINE
from trainlab import config
from trainlab.data import stored
from trainlab.data.digits import Digits
from trainlab.data.stored import Data
from trainlab.errors import UserError
from trainlab.search import engine
from trainlab.training import model_file
from trainlab.training.loop import train

RATE = PARAMS["space"]["lr"]


class Stopped(BaseException):
    """What ends a process in these tests, where nothing of ours can react."""


@pytest.fixture
def find(tmp_path):
    """``find(parameters)``: the outcome of a search, and what it said; trials are kept from one call to the next."""

    def run(content, images=None, storage="trials.db"):
        said = Said()
        outcome = engine.run(load(tmp_path, content), images or data(), tmp_path / storage, said)
        return outcome, said

    return run


@pytest.fixture
def trained(monkeypatch):
    """The configuration of each training, in order."""
    configs = []

    def counted(config, *arguments, **options):
        configs.append(config)
        return train(config, *arguments, **options)

    monkeypatch.setattr(engine, "train", counted)
    return configs


def outputs(outcome):
    return outcome.table().to_csv(), outcome.winner.to_yaml(), outcome.result()


# Rounds


def test_rounds_go_from_coarse_to_fine_around_the_best_so_far(find, trained):
    outcome, said = find(changed(moves=0))
    first, second = outcome.sweeps
    assert [len(sweep.trials) for sweep in outcome.sweeps] == [4, 5]
    best = min(first.trials, key=lambda trial: trial.value)
    assert first.space["lr"].around(first.values(best)["lr"], 0.5) == second.space["lr"]
    assert second.space["optimizer.weight_decay"].high == 1e-2  # not varied before: the whole range
    assert [run.subset for run in trained] == [12] * 4 + [0] * 5 + [0]
    assert [run.epochs for run in trained] == [3] * 4 + [2] * 5 + [2]
    assert [run.validation for run in trained] == [0.25] * 9 + [0]
    assert [run.seed for run in trained] == [0] * 10  # one split, one start: only the values differ
    assert len(said.trials()) == 9
    table = outcome.table()
    assert list(table["round"]) == [1] * 4 + [2] * 5
    assert list(table["lr"]) == [run.lr for run in trained[:9]]
    assert list(table["optimizer.weight_decay"][4:]) == [run.optimizer.weight_decay for run in trained[4:9]]


def test_what_a_round_does_not_vary_has_the_best_value_so_far(find, trained):
    rounds = [PARAMS["rounds"][0], {**PARAMS["rounds"][1], "vary": ["optimizer.weight_decay", "batch_size"]}]
    outcome, _ = find(changed(rounds=rounds, moves=0))
    first, _ = outcome.sweeps
    best = first.values(min(first.trials, key=lambda trial: trial.value))["lr"]
    assert {run.lr for run in trained[4:]} == {best}
    assert outcome.winner.values["lr"] == best
    assert list(outcome.table()["lr"][4:]) == [best] * 5


def test_the_first_round_is_judged_by_the_images_learned_by_heart(find):
    outcome, _ = find(one_round(judged_by="train_loss", subset=12))
    losses = outcome.table().set_index("trial")["train_loss"]
    assert outcome.winner.number == losses.idxmin()


def test_a_range_moves_outward_while_the_best_is_on_its_edge(find):
    low = {"lr": {**RATE, "low": 1e-5, "high": 1e-3}}
    outcome, said = find({**one_round(trials=6), "space": low, "moves": 2, "edge": 0.3})
    ranges = [sweep.space["lr"] for sweep in outcome.sweeps]
    assert [sweep.move for sweep in outcome.sweeps] == [0, 1, 2]
    assert ranges[0].high < ranges[1].high < ranges[2].high
    moves = [line for line in said.lines if "is on the upper edge" in line]
    assert f"the range moves to {ranges[1]}, and the round runs again" in moves[0]
    assert outcome.winner.values["lr"] > 1e-3
    assert outcome.winner.metrics["validation_loss"] == outcome.table()["validation_loss"].min()


def test_no_move_is_made_beyond_the_number_of_moves(find):
    low = {"lr": {**RATE, "low": 1e-5, "high": 1e-3}}
    outcome, said = find({**one_round(trials=6), "space": low, "moves": 0, "edge": 0.3})
    assert len(outcome.sweeps) == 1
    assert "no move is left: raise `moves`" in said.lines[-1]


def test_a_range_stays_where_a_run_could_not_have_the_value(find):
    momentum = {"optimizer.momentum": {"name": "uniform", "low": 0.9, "high": 0.99}}
    base = {**PARAMS["base"], "optimizer": "sgd", "lr": 1e-4}
    outcome, said = find(
        {**one_round(vary=["optimizer.momentum"], trials=8), "space": momentum, "base": base, "edge": 0.45}
    )
    assert len(outcome.sweeps) == 1
    [told] = [line for line in said.lines if "the range stays" in line]
    assert "optimizer.momentum" in told


# Samplers and pruning


def test_a_grid_tries_every_combination_once(find):
    space = {"lr": RATE, "batch_size": PARAMS["space"]["batch_size"]}
    content = one_round(vary=["lr", "batch_size"], trials=50, epochs=1)
    outcome, _ = find({**content, "space": space, "sampler": {"name": "grid", "points": 3}, "moves": 0})
    found = outcome.table()[["lr", "batch_size"]]
    assert sorted(map(tuple, found.values)) == [(lr, size) for lr in (1e-3, 1e-2, 1e-1) for size in (4, 8)]


def test_tpe_learns_where_chance_does_not(find):
    by_chance, _ = find(one_round(trials=8), storage="random.db")
    learned, _ = find({**one_round(trials=8), "sampler": {"name": "tpe", "startup": 4}}, storage="tpe.db")
    first, second = (outcome.table()["lr"][:8] for outcome in (by_chance, learned))
    assert len(set(second)) == 8
    assert list(first[4:]) != list(second[4:])


def test_a_trial_worse_than_the_median_is_given_up(find, trained):
    pruned = {"pruner": {"name": "median", "startup": 2, "warmup": 0.5}}
    outcome, said = find({**one_round(trials=10, epochs=4), **pruned, "moves": 0})
    table = outcome.table()
    assert set(table["state"]) == {"complete", "pruned"}
    assert table[table["state"] == "pruned"]["epochs"].between(2, 3).all()
    assert (table[table["state"] == "complete"]["epochs"] == 4).all()
    assert list(table["state"][:2]) == ["complete"] * 2
    assert any("given up after 2 epochs" in line for line in said.lines)


def test_a_trial_that_diverges_failed_and_the_search_goes_on(find):
    wild = {"lr": {"name": "choice", "values": [1e-2, 1e30]}}
    outcome, said = find({**one_round(trials=6), "space": wild})
    table = outcome.table().set_index("trial")
    assert set(table["state"][table["lr"] == 1e30]) == {"failed"}
    assert set(table["state"][table["lr"] == 1e-2]) == {"complete"}
    assert outcome.winner.values == {"lr": 1e-2}
    assert any("failed: run best: the loss is" in line for line in said.lines)


def test_values_that_do_not_go_together_failed(find):
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


def test_a_round_of_failures_is_told(find):
    wild = {"lr": {"name": "uniform", "low": 1e29, "high": 1e30}}
    with pytest.raises(
        UserError, match=r"round 1 \(rate\): all 4 trials failed, the last one as run best: the loss is"
    ):
        find({**one_round(), "space": wild})


# Stopping and going on


def test_all_is_the_same_again_without_a_trial(find, trained):
    first, said = find(PARAMS)
    ran = len(trained)
    again, quiet = find(PARAMS)
    assert outputs(again) == outputs(first)
    assert len(trained) == ran
    assert said.trials()
    assert not quiet.trials()


@pytest.mark.parametrize("sampler", ["random", {"name": "tpe", "startup": 2}, {"name": "grid", "points": 3}])
@pytest.mark.parametrize("ends_in", [0, 2, 5, 7])
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(find, monkeypatch, sampler, ends_in):
    content = changed(sampler=sampler, moves=0)
    whole, said = find(content, storage="whole.db")
    count = 0

    def killed(config, *arguments, **options):
        nonlocal count
        count += 1
        if count == ends_in + 1:
            raise Stopped
        return train(config, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "train", killed)
        with pytest.raises(Stopped):
            find(content, storage="killed.db")
    resumed, rest = find(content, storage="killed.db")
    assert outputs(resumed) == outputs(whole)
    assert rest.trials() == said.trials()[ends_in:]


def test_a_trial_that_kills_its_process_twice_failed(find, monkeypatch):
    def out_of_memory(config, *arguments, **options):
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
    table = outcome.table()
    assert {"complete", "failed"} == set(table["state"])
    assert set(table["batch_size"][table["state"] == "failed"]) == {8}
    assert outcome.winner.values == {"batch_size": 4}


def test_ctrl_c_is_no_failure_however_often(find, monkeypatch):
    whole, _ = find(one_round(), storage="whole.db")
    with monkeypatch.context() as patch:
        patch.setattr(engine, "train", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                find(one_round())
    resumed, _ = find(one_round())
    assert outputs(resumed) == outputs(whole)


def test_more_trials_continue_and_a_later_round_leaves_the_first_alone(find, trained):
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
def test_other_parameters_do_not_continue_the_old_trials(find, trained, own):
    find(one_round(trials=2))
    del trained[:]
    find({**one_round(trials=2), "moves": 0, **own})
    assert len(trained) >= 2  # and the winner again, where it is another


def test_other_images_and_other_code_do_not_continue_the_old_trials(find, trained, monkeypatch):
    content = {**one_round(trials=2), "moves": 0}
    find(content)
    images = data()
    find(content, Data(replace(images.train, images=255 - images.train.images), images.test))
    assert len(trained) == 6
    monkeypatch.setattr(engine.fingerprint, "of_run", lambda parts: "another")
    find(content)
    assert len(trained) == 9


def test_two_searches_do_not_share_a_file(find, monkeypatch, tmp_path):
    problems = []

    def another(config, *arguments, **options):
        thread = threading.Thread(target=lambda: problems.append(refused()))
        thread.start()
        thread.join()
        return train(config, *arguments, **options)

    def refused():
        with pytest.raises(UserError) as error:
            engine.run(load(tmp_path, one_round()), data(), tmp_path / "trials.db", Said())
        return str(error.value)

    monkeypatch.setattr(engine, "train", another)
    find({**one_round(trials=1), "moves": 0})
    assert all(f"another search works with {tmp_path / 'trials.db'}" in problem for problem in problems)
    assert problems


def test_a_damaged_file_is_told_in_a_line(find, tmp_path):
    (tmp_path / "trials.db").write_text("this is no database" * 100)
    with pytest.raises(UserError, match=r"trials\.db cannot be used \(file is not a database\).*delete it"):
        find(one_round())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (one_round(subset=37), r"rounds\[0\]\.subset is 37, and validation leaves 36"),
        ({**one_round(), "base": {**PARAMS["base"], "model": "tf_cnn"}}, "at least 18×18"),
    ],
)
def test_what_would_fail_every_trial_is_told_before_the_first(find, trained, content, told):
    with pytest.raises(UserError, match=told):
        find(content, data(size=16))
    assert trained == []


# The winner


def test_the_test_images_are_scored_once_by_the_winner_alone(find, monkeypatch):
    seen, scored = [], []
    plain = model_file.TrainedModel.scores

    def watched(config, images, **options):
        seen.append(images.test)
        return train(config, images, **options)

    def counted(self, images, **options):
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


def test_the_best_run_is_a_paste_and_gives_the_result_that_the_search_reports(find):
    outcome, _ = find(PARAMS)
    text = yaml.safe_dump({**PIPELINE, "runs": {}}, sort_keys=False).replace("runs: {}\n", "")
    pasted = yaml.safe_load(f"{text}runs:\n{outcome.winner.to_yaml()}")
    run = config.resolve(pasted)["best"]
    assert run == outcome.winner.config
    assert (run.validation, run.subset, run.replicas) == (0, 0, 1)
    rows = []
    train(run, data(), on_epoch=rows.append)
    assert rows[-1]["test_accuracy"] == pytest.approx(outcome.result()["test_accuracy"])
    assert rows[-1]["test_loss"] == pytest.approx(outcome.result()["test_loss"], rel=1e-5)


# Digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """scikit-learn's digits, as the pipeline stores them."""
    directory = tmp_path_factory.mktemp("digits")
    source = Digits()
    source.fetch(directory)
    stored.save(directory / "normalized", *source.read(directory))
    return Data(*(stored.load(directory / "normalized" / f"{split}.safetensors") for split in ("train", "test")))


def test_from_a_range_without_the_best_rate_it_comes_within_5_percent_of_a_fine_grid(find, digits):
    model = {"name": "three_layer", "num_filters": 6, "filter_size": 3, "hidden_dim": 64}
    base = {**PARAMS["base"], "batch_size": 64, "model": model, "schedule": "cosine"}
    longest = {"vary": ["lr"], "epochs": 4, "subset": 600, "judged_by": "validation_loss"}
    rounds = [
        {"name": "by heart", "vary": ["lr"], "trials": 6, "epochs": 10, "subset": 100, "judged_by": "train_loss"},
        {**longest, "name": "coarse", "trials": 8, "epochs": 2},
        {**longest, "name": "fine", "trials": 20, "shrink": 0.5},
    ]
    away = {"lr": {**RATE, "low": 1e-5, "high": 3e-4}}
    search = changed(base=base, rounds=rounds, space=away, edge=0.25, moves=2)
    found, said = find(search, digits, storage="search.db")

    grid = changed(
        base=base, rounds=[{**longest, "name": "grid", "trials": 20}], sampler={"name": "grid", "points": 20}
    )
    fine = {"lr": {**RATE, "low": 1e-3, "high": 3e-2}}
    best, _ = find({**grid, "space": fine, "moves": 0}, digits, storage="grid.db")

    assert best.winner.values["lr"] > 3e-3  # ten times as high as the search's range
    losses = [outcome.winner.metrics["validation_loss"] for outcome in (found, best)]
    assert losses[0] <= 1.05 * losses[1], "\n".join([*said.lines, str(losses)])
