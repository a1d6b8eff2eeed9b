"""The trials of a search on a Ray cluster of two nodes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scale.cluster import ADDRESS, Cluster, kill, two_nodes
from search.small_search import Said, changed, data, load, one_round
from trainlab.config import reading
from trainlab.data import stored
from trainlab.data.stored import Split
from trainlab.search import engine

pytestmark = pytest.mark.slow
PRUNED = {**one_round(trials=8, epochs=4), "pruner": {"name": "median", "startup": 2, "warmup": 0.5}, "moves": 0}
COHORT = {"cohort": 4}
CONTENTS = {
    "two rounds": changed(moves=1),
    "diverging": {**one_round(trials=6), "space": {"lr": {"name": "choice", "values": [1e-2, 1e30]}}},
    "pruner": {**PRUNED, **COHORT},
    "tpe": {**one_round(trials=8), "sampler": {"name": "tpe", "startup": 2}, "moves": 0, **COHORT},
    "two threads": changed(moves=0, base={**changed()["base"], "threads": 2}),
}
LONG = one_round(trials=4, epochs=2000)  # some seconds per trial


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_nodes(tmp_path_factory.getbasetemp()) as started:
        yield started


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with the images of a search."""
    train, test = data()
    assert test is not None
    splits = Split(train.images, train.labels), Split(test.images, test.labels)
    stored.save(tmp_path / "project/data/normalized", *splits, train.classes)
    (tmp_path / "project/search").mkdir()
    return tmp_path / "project"


def write(project: Path, content: dict[str, Any]) -> None:
    (project / "search/params.yaml").write_text(reading.dump(content))


def outputs(project: Path, storage: Path) -> tuple[Any, ...]:
    """Return the outcome of the search with these trials, and the number of trials that had to be trained."""
    said = Said()
    outcome = engine.run(
        load(project, reading.load(project / "search/params.yaml", "")),
        stored.load_data(project / "data/normalized"),
        storage,
        said,
    )
    return outcome.table().to_csv(), outcome.winner.to_yaml(), outcome.result(), len(said.trials())


def trials(printed: str) -> int:
    """Return the number of trials that ran."""
    return sum(line.startswith("  ") and "training loss" in line for line in printed.splitlines())


@pytest.mark.parametrize("name", CONTENTS)
def test_the_outcome_is_that_of_a_serial_search(name: str, cluster: Cluster, project: Path) -> None:
    write(project, CONTENTS[name])
    cluster.run("search", "--address", ADDRESS, cwd=project)
    *ours, trained = outputs(project, project / "search/trials.db")
    *serial, count = outputs(project, project / "serial.db")
    assert ours == serial
    assert trained == 0
    assert count > 0


def test_a_trial_whose_node_dies_runs_again(cluster: Cluster, project: Path) -> None:
    write(project, LONG)
    process = cluster.driver("search", "--address", ADDRESS, "--jobs", "4", cwd=project)
    try:
        busy(cluster, "worker")
        cluster.nodes["worker"].raylet().kill()
        printed, _ = process.communicate(timeout=300)
    finally:
        kill(process)
        cluster.stop("worker")
        cluster.start("worker")
    assert process.returncode == 0, printed
    assert trials(printed) == 4
    assert "failed" not in printed
    *ours, trained = outputs(project, project / "search/trials.db")
    assert trained == 0
    assert ours == list(outputs(project, project / "serial.db")[:3])


def test_a_search_whose_driver_is_killed_resumes(cluster: Cluster, project: Path) -> None:
    write(project, LONG)
    for _ in range(3):  # as often as would fail a trial that kills its own process
        process = cluster.driver("search", "--address", ADDRESS, "--jobs", "2", cwd=project)
        busy(cluster, "head", "worker")
        kill(process)
    printed = cluster.run("search", "--address", ADDRESS, cwd=project)
    assert "failed" not in printed
    assert outputs(project, project / "search/trials.db")[:3] == outputs(project, project / "serial.db")[:3]


def test_mistakes_are_one_line(cluster: Cluster, project: Path) -> None:
    write(project, PRUNED)
    assert "set `cohort` to their number" in cluster.run("search", "--address", ADDRESS, cwd=project, code=1)
    write(project, one_round())
    assert "no Ray cluster at 127.0.0.9:6399" in cluster.run(
        "search", "--address", "127.0.0.9:6399", cwd=project, code=1
    )
    assert "it must be HOST:PORT" in cluster.run("search", "--address", "somewhere", cwd=project, code=1)
    printed = cluster.run("search", "--address", ADDRESS, "--gpus", "1", cwd=project, code=1)
    assert "no node of the cluster has CPU 1, GPU 1" in printed


def busy(cluster: Cluster, *names: str) -> None:
    """Wait until these nodes train."""
    end = time.monotonic() + 90
    for name in names:
        while not any(
            "measure" in process.name() or "measure" in " ".join(process.cmdline())
            for process in children(cluster, name)
        ):
            assert time.monotonic() < end, "no trial started"
            time.sleep(0.1)


def children(cluster: Cluster, name: str) -> list[Any]:
    return cluster.nodes[name].raylet().children()
