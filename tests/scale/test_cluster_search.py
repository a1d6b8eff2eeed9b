"""The trials of a search on a Ray cluster of two nodes."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scale.cluster import ADDRESS, Cluster, kill, two_nodes
from search.small_search import Said, changed, data, one_round
from small import dataset
from trainlab.config import reading
from trainlab.data import stored
from trainlab.data.stored import Split
from trainlab.search import engine, params

pytestmark = [pytest.mark.slow, pytest.mark.faults]
SEARCH = ("search", "--address", ADDRESS)
SPACE = {"lr": {"name": "choice", "values": [1e-3, 1e-2, 1e30]}}
PRUNED = {**one_round(trials=8, epochs=4), "pruner": {"name": "median", "startup": 1, "warmup": 0.5}, "space": SPACE}
CONTENTS = {
    "two rounds and two threads": changed(moves=1, base={**changed()["base"], "threads": 2}),
    "pruner": {**PRUNED, "cohort": 4},
    "tpe": {**one_round(trials=8), "sampler": {"name": "tpe", "startup": 2}, "moves": 0, "cohort": 4},
}
LONG = one_round(trials=4, epochs=2)  # some seconds per trial, with many images


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_nodes(tmp_path_factory.getbasetemp()) as started:
        yield started


def create(root: Path, content: dict[str, Any], images: int = 48) -> Path:
    """Make a project with the images of a search."""
    train, test = dataset(count=images, size=20), data().test
    assert test is not None
    splits = Split(train.images, train.labels), Split(test.images, test.labels)
    stored.save(root / "data/normalized", *splits, train.classes)
    (root / "search").mkdir()
    (root / "search/params.yaml").write_text(reading.dump(content))
    return root


def outputs(project: Path, storage: Path) -> tuple[Any, ...]:
    """Return the outcome of the search with these trials, and the number of trials that had to be trained."""
    said = Said()
    outcome = engine.run(
        params.load(project / "search/params.yaml"),
        stored.load_data(project / "data/normalized"),
        storage,
        said,
    )
    return outcome.table().to_csv(), outcome.winner.to_yaml(), outcome.result(), len(said.trials())


@pytest.mark.parametrize("name", CONTENTS)
def test_the_outcome_is_that_of_a_serial_search(name: str, cluster: Cluster, tmp_path: Path) -> None:
    project = create(tmp_path / "project", CONTENTS[name])
    cluster.run(*SEARCH, cwd=project, SEARCH_TRIALS=str(tmp_path / "ours.db"))
    *ours, trained = outputs(project, tmp_path / "ours.db")
    *serial, count = outputs(project, tmp_path / "serial.db")
    assert ours == serial
    assert trained == 0
    assert count > 0


def test_a_trial_whose_node_dies_runs_again(cluster: Cluster, tmp_path: Path) -> None:
    project = create(tmp_path / "project", LONG, images=20_000)
    process = cluster.driver(*SEARCH, "--jobs", "4", cwd=project, SEARCH_TRIALS=str(tmp_path / "ours.db"))
    try:
        busy(cluster, process, "worker")
        cluster.nodes["worker"].raylet().kill()
        printed, _ = process.communicate(timeout=300)
    finally:
        kill(process)
        cluster.stop("worker")
        cluster.start("worker")
    assert process.returncode == 0, printed
    assert "failed" not in printed
    *ours, trained = outputs(project, tmp_path / "ours.db")
    assert trained == 0
    assert ours == list(outputs(project, tmp_path / "serial.db")[:3])


def test_a_search_whose_driver_is_killed_resumes(cluster: Cluster, tmp_path: Path) -> None:
    project = create(tmp_path / "project", LONG, images=20_000)
    for _ in range(
        2
    ):  # as often as would fail a trial that kills its own process; some trials are left the second time
        process = cluster.driver(*SEARCH, "--jobs", "2", cwd=project, SEARCH_TRIALS=str(tmp_path / "ours.db"))
        try:
            busy(cluster, process, "head", "worker")
        finally:
            kill(process)
        idle(cluster)  # otherwise the next one would seem to train before it does
    printed = cluster.run(*SEARCH, cwd=project, SEARCH_TRIALS=str(tmp_path / "ours.db"))
    assert "failed" not in printed
    assert outputs(project, tmp_path / "ours.db")[:3] == outputs(project, tmp_path / "serial.db")[:3]


def test_mistakes_are_one_line(cluster: Cluster, tmp_path: Path) -> None:
    project = create(tmp_path / "project", PRUNED)
    assert "set `cohort` to their number" in cluster.run(*SEARCH, cwd=project, code=1)
    (project / "search/params.yaml").write_text(reading.dump(one_round()))
    for address, says in {
        "127.0.0.2:1": "no Ray cluster at 127.0.0.2:1",
        "somewhere": "must be HOST:PORT",
    }.items():
        assert says in cluster.run("search", "--address", address, cwd=project, code=1)
    assert "no node of the cluster has CPU 1, GPU 1" in cluster.run(*SEARCH, "--gpus", "1", cwd=project, code=1)


def busy(cluster: Cluster, process: subprocess.Popen[str], *names: str) -> None:
    """Wait until one of these nodes trains."""
    end = time.monotonic() + 200
    while not any(trains(cluster, name) for name in names):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no trial started"
        time.sleep(0.1)


def idle(cluster: Cluster) -> None:
    """Wait until no node trains: for a while after the end of a driver, its trials are still there."""
    end = time.monotonic() + 60
    while any(trains(cluster, name) for name in cluster.nodes):
        assert time.monotonic() < end, "the trials of a driver that was killed go on"
        time.sleep(0.1)


def trains(cluster: Cluster, name: str) -> bool:
    return any("measure" in title(child) for child in cluster.nodes[name].raylet().children())


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return ""
