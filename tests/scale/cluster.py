"""A Ray cluster of two nodes on this machine: in a network namespace with loopback only, without a common directory.

Ray binds all interfaces and replaces 127.0.0.1 by the host's address; in the namespace it reaches this machine only. Each
node has temporary files of its own and, in a mount namespace of its own, an empty directory where the tests have theirs.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from pages import PROJECT

LIFE = 1800  # seconds after which everything ends, even if pytest was killed
PORT = 6399
ADDRESS = f"127.0.0.2:{PORT}"
BIN = Path(sys.executable).parent
TRAINLAB = [
    sys.executable, "-c",
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from trainlab.commands import main; main()",
    str(PROJECT / "src"),
]  # fmt: skip


@dataclass
class Node:
    """A node: the group of its processes, and its directory."""

    process: subprocess.Popen[bytes]
    directory: Path

    def raylet(self) -> psutil.Process:
        """Return the process that starts all others of a node."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        return next(process for process in processes if process.name() == "raylet")


@dataclass
class Cluster:
    """Two nodes, the first of which has the scheduler.

    Parameters
    ----------
    directory
        What both nodes and the driver see; the nodes' own directories are in it.
    inside
        The start of a command that runs in the network namespace.
    hidden
        A directory that the nodes do not see.
    """

    directory: Path
    inside: Sequence[str]
    hidden: Path
    nodes: dict[str, Node] = field(default_factory=dict)

    def start(self, name: str) -> Node:
        """Start a node, `head` or `worker`, and wait until it has joined."""
        own = self.directory / name
        own.mkdir(exist_ok=True)
        log = own / "log"
        log.write_text("")
        place = ["--head", "--node-ip-address=127.0.0.2", f"--port={PORT}", "--include-dashboard=false"]
        if name != "head":
            place = [f"--address={ADDRESS}", "--node-ip-address=127.0.0.3"]
        ray = f"mount -t tmpfs none {self.hidden} && exec timeout {LIFE} {BIN}/ray start"
        words = [*place, f"--temp-dir={own}/r", "--num-cpus=2", "--object-store-memory=300000000", "--block"]
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self.inside, "unshare", "-m", "sh", "-c", f'{ray} "$@"', "sh", *words],
                env={**environment(), "TMPDIR": str(own)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.nodes[name] = Node(process, own)
        end = time.monotonic() + 90
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        return self.nodes[name]

    def stop(self, name: str) -> None:
        """Kill all processes of a node, and wait for their end."""
        node = self.nodes.pop(name)
        with suppress(psutil.NoSuchProcess):
            below = psutil.Process(node.process.pid).children(recursive=True)
            for process in below:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(below, timeout=20)
        with suppress(ProcessLookupError):
            os.killpg(node.process.pid, signal.SIGKILL)
        node.process.wait(timeout=20)

    def driver(self, *arguments: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
        """Start `trainlab` with these arguments in the namespace; the caller waits for it."""
        return subprocess.Popen(
            [*self.inside, *TRAINLAB, *arguments],
            cwd=cwd,
            env={**environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, cwd: Path, code: int = 0, **variables: str) -> str:
        """Run `trainlab`, which must exit with this code; return what it printed."""
        process = self.driver(*arguments, cwd=cwd, **variables)
        try:
            printed, _ = process.communicate(timeout=500)
        finally:
            kill(process)
        assert process.returncode == code, printed
        assert "Traceback" not in printed, printed
        return printed


def environment() -> dict[str, str]:
    """Return the environment of nodes and drivers."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DVC_", "GIT_", "COV_", "RAY_", "TRAINLAB_", "PYTHON", "OMP_"))
    }
    return {
        **kept,
        "PATH": f"{BIN}{os.pathsep}{kept['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # 15 by default: on a busy machine its workers would starve
    }


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a driver and its group, and wait for its end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)


@contextmanager
def two_nodes(hidden: Path) -> Iterator[Cluster]:
    """Start a cluster, and end all of its processes after the block; skip the test where that is not possible.

    Parameters
    ----------
    hidden
        The directory of the tests, which the nodes do not see.
    """
    pytest.importorskip("ray", reason="ray is not installed: pip install 'trainlab[cluster]'")
    tools = ["unshare", "nsenter", "ip", "mount"]
    missing = [name for name in tools if not shutil.which(name)]
    if missing:
        pytest.skip(f"no command {missing[0]}: install util-linux and iproute2")
    ready = f"ip link set lo up && echo ready && exec sleep {LIFE}"
    holder = subprocess.Popen(
        ["unshare", "-n", "-m", "sh", "-c", ready], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stderr
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"network namespaces are not permitted here: {holder.stderr.read().strip()}")
        with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as directory:
            inside = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
            cluster = Cluster(Path(directory), inside, hidden)
            try:
                cluster.start("head")
                cluster.start("worker")
                yield cluster
            finally:
                for name in list(cluster.nodes):
                    cluster.stop(name)
    finally:
        holder.kill()
        holder.wait(timeout=20)
        holder.stdout.close()
        holder.stderr.close()
