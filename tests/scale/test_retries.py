"""What is ended from outside runs again."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainlab.errors import UserError
from trainlab.scale import commands
from trainlab.scale.cluster import Cluster, Workplace
from trainlab.scale.retries import MAX_LOSSES, Killed, Lost, check, run_again


def script(*steps: Exception | str) -> Callable[[], str]:
    """Return a function that raises or returns these, one per call."""
    left = list(steps)

    def call() -> str:
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    return call


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 128 + signal.SIGINT, 128 + signal.SIGSEGV, 128 + signal.SIGABRT])
def test_a_failure_of_its_own_is_no_reason(code: int) -> None:
    check(code, True, "less")


@pytest.mark.parametrize(
    ("code", "memory", "says"),
    [
        (137, True, "ended by SIGKILL, because the memory was full (use less)"),
        (137, None, "ended by SIGKILL, perhaps because the memory was full (use less)"),
        (137, False, "ended by SIGKILL"),
        (143, True, "ended by SIGTERM"),
    ],
)
def test_a_signal_from_outside_is_named(code: int, memory: bool | None, says: str) -> None:
    with pytest.raises(Killed) as error:
        check(code, memory, "use less")
    assert str(error.value) == says


def test_it_runs_again_as_often_as_it_may() -> None:
    told: list[str] = []
    killed = Killed("ended by SIGKILL")
    assert run_again(script(killed, killed, "done"), 2, told.append) == "done"
    assert told == [
        "ended by SIGKILL: runs again, attempt 2 of 3",
        "ended by SIGKILL: runs again, attempt 3 of 3",
    ]
    with pytest.raises(Killed, match=r"^ended by SIGKILL \(attempt 2 of 2\)$"):
        run_again(script(killed, killed, "done"), 1, told.append)
    with pytest.raises(Killed, match=r"^ended by SIGKILL \(attempt 1 of 1\)$"):
        run_again(script(killed, "done"), 0, told.append)


def test_a_failure_does_not_run_again() -> None:
    with pytest.raises(UserError, match=r"^a mistake$"):
        run_again(script(UserError("a mistake"), "done"), 5, print)


def test_a_lost_node_does_not_count() -> None:
    told: list[str] = []
    lost = Lost("its node died")
    assert run_again(script(*[lost] * MAX_LOSSES, "done"), 0, told.append) == "done"
    assert told == ["its node died: runs again on another node"] * MAX_LOSSES
    with pytest.raises(UserError, match="its node died 21 times"):
        run_again(script(*[lost] * (MAX_LOSSES + 1), "done"), 0, told.append)


class Ray:
    """What the cluster uses of Ray; each call of `get` takes one step of a script."""

    class exceptions:
        WorkerCrashedError = type("WorkerCrashedError", (Exception,), {})
        OutOfMemoryError = type("OutOfMemoryError", (Exception,), {})
        NodeDiedError = type("NodeDiedError", (Exception,), {})
        ObjectLostError = type("ObjectLostError", (Exception,), {})
        RayTaskError = type("RayTaskError", (Exception,), {})

    def __init__(self, *steps: Exception | str) -> None:
        self._call = script(*steps)

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1}}]

    def remote(self, function: object) -> Any:
        return SimpleNamespace(options=lambda **own: SimpleNamespace(remote=lambda *arguments: "reference"))

    def wait(self, references: list[str], timeout: float) -> tuple[list[str], list[str]]:
        return references, []

    def get(self, reference: str) -> str:
        return self._call()

    def put(self, value: object) -> object:
        return value


@pytest.mark.parametrize(
    ("error", "kind"),
    [("WorkerCrashedError", Killed), ("OutOfMemoryError", Killed), ("NodeDiedError", Lost), ("ObjectLostError", Lost)],
)
def test_a_call_on_a_cluster_says_what_ended_it(error: str, kind: type[Exception]) -> None:
    cluster = Cluster(Ray(getattr(Ray.exceptions, error)()))
    with pytest.raises(kind):
        cluster.call(print, resources={"num_cpus": 1})


def test_a_trial_on_a_cluster_runs_again() -> None:
    killed, lost = Ray.exceptions.WorkerCrashedError(), Ray.exceptions.NodeDiedError()
    cluster = Cluster(Ray(killed, lost, lost, "done", killed, killed))
    workplace = Workplace(cluster, None, 1, {"num_cpus": 1})
    assert workplace.submit(print).result() == "done"
    with pytest.raises(Killed, match="attempt 2 of 2"):
        workplace.submit(print).result()


def test_the_system_counts_what_it_ends_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = tmp_path / "vmstat"
    monkeypatch.setattr(commands, "COUNTERS", counters)
    for before, after, full in [("oom_kill 3\n", "oom_kill 3\n", False), ("oom_kill 3\n", "oom_kill 4\n", True)]:
        counters.write_text(f"nr_free_pages 1\n{before}")
        command = commands.Command(["true"], str(tmp_path), {}, tmp_path / "log")
        assert command.wait() == 0
        counters.write_text(f"nr_free_pages 1\n{after}")
        assert command.memory_was_full is full
    counters.unlink()
    assert command.memory_was_full is None


@pytest.mark.parametrize(("line", "code"), [("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)])
def test_a_command_that_a_signal_ended_has_the_code_of_a_shell(line: str, code: int, tmp_path: Path) -> None:
    assert commands.Command(["sh", "-c", line], str(tmp_path), {}, tmp_path / "log").wait() == code


def test_a_command_whose_guard_is_killed_has_its_code(tmp_path: Path) -> None:
    command = commands.Command(["sleep", "60"], str(tmp_path), {}, tmp_path / "log")
    command.signal(signal.SIGKILL)
    assert command.wait() == 137
