"""`trainlab repro --address` on a Ray cluster of two nodes that have only a DVC remote in common."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from scale.cluster import ADDRESS, Cluster, kill, two_nodes
from scale.example import copy, create, environment, run
from scale.test_repro import differences

pytestmark = [pytest.mark.slow, pytest.mark.faults]
SECONDS = 5
SLOW = ('float(os.environ.get("SLEEP", "0"))', f'({SECONDS} if "fail" in ins else 0)')
WIDE = ("outs: [{report.txt", "meta: {resources: {num_cpus: 2}}\n    outs: [{report.txt")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_nodes(tmp_path_factory.getbasetemp()) as started:
        yield started


@pytest.fixture(scope="module")
def empty(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the project with a remote that the nodes see, and nothing reproduced. Copy it to change it."""
    root = create(tmp_path_factory.mktemp("empty") / "project")
    for name, (before, after) in {"tool.py": SLOW, "dvc.yaml": WIDE}.items():
        text = (root / name).read_text()
        assert before in text
        (root / name).write_text(text.replace(before, after))
    run(root, "dvc", "remote", "add", "-q", "--default", "between", str(cluster.directory / "remote"))
    return root


@pytest.fixture
def project(empty: Path, cluster: Cluster, tmp_path: Path) -> Path:
    """Return a copy of `empty` to change, with an empty remote."""
    root = copy(empty, tmp_path)
    subprocess.run(["rm", "-rf", str(cluster.directory / "remote")], check=True)
    return root


Repro = Callable[..., str]


@pytest.fixture
def repro(cluster: Cluster) -> Repro:
    """Return a function that runs `trainlab repro --address`."""

    def command(root: Path, *arguments: str, code: int = 0) -> str:
        variables = {"DVC_SITE_CACHE_DIR": environment(root)["DVC_SITE_CACHE_DIR"]}
        return cluster.run("repro", "--address", ADDRESS, *arguments, cwd=root, code=code, **variables)

    return command


def start(cluster: Cluster, root: Path) -> subprocess.Popen[str]:
    variables = {"DVC_SITE_CACHE_DIR": environment(root)["DVC_SITE_CACHE_DIR"]}
    return cluster.driver("repro", "--address", ADDRESS, cwd=root, **variables)


def tools(cluster: Cluster, process: subprocess.Popen[str], name: str, count: int = 1) -> list[psutil.Process]:
    """Wait until the commands of this many slow stages run on a node; return their processes."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        found = [
            child for child in psutil.Process(cluster.nodes[name].raylet().pid).children(recursive=True) if slow(child)
        ]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError("no command started")


def slow(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[1:2] == ["tool.py"] and "fail" in process.cmdline()
    except psutil.Error:
        return False


def ran(printed: str) -> list[str]:
    return sorted(re.findall(r"stage \d+ of \d+: (\S+): done in", printed))


def test_it_leaves_what_dvc_leaves(project: Path, reproduced: Path, cluster: Cluster, repro: Repro) -> None:
    printed = repro(project)
    assert differences(project, reproduced) == {}
    assert "wrote last.txt" in printed
    for name in cluster.nodes:
        assert list((cluster.directory / name).glob("trainlab-*/*/cache/files")), f"{name} ran nothing"
    assert [name for name in ran(repro(project)) if name != "always"] == []


def test_another_clone_runs_nothing_that_was_run(project: Path, empty: Path, tmp_path: Path, repro: Repro) -> None:
    repro(project)
    clone = copy(empty, tmp_path / "clone")
    printed = repro(clone)
    assert "wrote parts" not in printed
    assert "wrote data/a.txt" not in printed
    assert (clone / "dvc.lock").read_text() == (project / "dvc.lock").read_text()
    assert (clone / "last.txt").read_text() == (project / "last.txt").read_text()


def test_a_node_that_is_killed_costs_the_time_of_its_stages(project: Path, reproduced: Path, cluster: Cluster) -> None:
    process = start(cluster, project)
    try:
        commands = tools(cluster, process, "worker")
        cluster.nodes["worker"].raylet().kill()
        assert psutil.wait_procs(commands, timeout=30)[1] == []  # a command ends with its raylet
        printed, _ = process.communicate(timeout=200)
    finally:
        kill(process)
        cluster.stop("worker")
        cluster.start("worker")
    assert process.returncode == 0, printed
    assert len(ran(printed)) == len(set(ran(printed)))
    assert differences(project, reproduced) == {}


def test_a_driver_that_is_killed_continues(project: Path, reproduced: Path, cluster: Cluster, repro: Repro) -> None:
    process = start(cluster, project)
    try:
        commands = tools(cluster, process, "worker")
    finally:
        kill(process)
    assert psutil.wait_procs(commands, timeout=60)[1] == []
    printed = repro(project)
    assert differences(project, reproduced) == {}
    assert "prepare: done in" not in printed or "wrote data/a.txt" not in printed


def test_a_failure_and_mistakes_are_one_line(project: Path, cluster: Cluster, repro: Repro) -> None:
    (project / "broken").touch()
    (project / ".gitignore").write_text((project / ".gitignore").read_text().replace("/broken\n", ""))
    printed = repro(project, "part@a", code=1)
    assert "part@a: FAILED" in printed
    assert "this stage is broken" in printed
    (project / "broken").unlink()
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("num_cpus: 2", "num_cpus: 64"))
    assert "no node of the cluster has CPU 64" in repro(project, "report", code=1)
    (project / "dvc.yaml").write_text(text.replace("num_cpus: 2", "cpus: 2"))
    assert "report: meta.resources.cpus in dvc.yaml is not one of num_cpus" in repro(project, "report", code=1)
    run(project, "dvc", "remote", "remove", "between")
    assert "this project has none: `dvc remote add" in repro(project, "report", code=1)
