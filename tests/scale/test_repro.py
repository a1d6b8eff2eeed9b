"""`trainlab repro` leaves what `dvc repro` leaves."""

import io
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from warnings import catch_warnings, simplefilter

import psutil
import pytest

from pages import PROJECT
from scale.example import content, copy, environment, run
from trainlab.commands import main
from trainlab.scale import pipeline

pytestmark = pytest.mark.slow
KILLS = 10


def words(record: float) -> list[str]:
    """Return the command `trainlab repro`, which writes dvc.lock again after so many seconds at the earliest."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import trainlab.scale.pipeline as pipeline;"
        f" pipeline.RECORD = {record}; from trainlab.commands import main; main()"
    )
    return [sys.executable, "-c", code, str(PROJECT / "src"), "repro"]


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Collect processes that are ended with the test in every case."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def repro(root: Path, *arguments: str, code: int = 0, record: float = 3, **variables: str) -> str:
    """Run `trainlab repro` in this process, where it must exit with this code; return what it printed."""
    given = {**environment(root), **variables}
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed), catch_warnings():
        simplefilter("ignore")  # DVC's own, which are errors in tests
        patch.chdir(root)
        for name in os.environ.keys() - given.keys():
            patch.delenv(name)
        for name, value in given.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["trainlab", "repro", *arguments])
        patch.setattr(pipeline, "RECORD", record)
        returned = None
        try:
            main()
        except SystemExit as ended:
            returned = ended.code
    assert (returned or 0) == code, printed.getvalue()
    assert "Traceback" not in printed.getvalue()
    return printed.getvalue()


def start(
    root: Path, processes: list[subprocess.Popen[str]], *arguments: str, record: float = 3, **variables: str
) -> subprocess.Popen[str]:
    """Start `trainlab repro` as a terminal would, and do not wait for it."""
    processes.append(
        subprocess.Popen(
            [*words(record), *arguments],
            cwd=root,
            env={**environment(root), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    )
    return processes[-1]


def commands(process: subprocess.Popen[str], count: int) -> list[psutil.Process]:
    """Wait until the commands of this many stages run; return all processes below."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        children = psutil.Process(process.pid).children(recursive=True)
        tools = [
            child
            for child in children
            if "tool.py" in " ".join(cmdline(child)) and "guard" not in " ".join(cmdline(child))
        ]
        if len([child for child in tools if "python" in child.name()]) >= count:
            return children
        time.sleep(0.05)
    raise AssertionError("the commands did not start")


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def differences(one: Path, other: Path) -> dict[str, tuple[str | None, str | None]]:
    a, b = content(one), content(other)
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_it_leaves_what_dvc_leaves(jobs: str, project: Path, reproduced: Path) -> None:
    # The first of several stages ends last, and dvc.lock is written in between.
    printed = repro(project, "--jobs", jobs, record=0, LATE="parts/a.txt")
    assert differences(project, reproduced) == {}
    assert re.search(r"stage \d+ of 16: prepare: done in ", printed)
    assert "wrote last.txt" in printed
    assert run(project, "dvc", "status").count("always changed") == 1
    again = repro(project, "--jobs", jobs)
    assert "always: done in" in again
    assert "prepare: done in" not in again


@pytest.mark.parametrize(
    "edit",
    [
        ("params.yaml", "k: 3", "k: 4"),
        pytest.param(("params.yaml", "lr: 0.1", "lr: 0.2"), marks=pytest.mark.faults),
        pytest.param(("tool.py", "wrote", "Wrote"), marks=pytest.mark.faults),
    ],
)
def test_after_a_change_too(edit: tuple[str, str, str], reproduced: Path, tmp_path: Path) -> None:
    ours, theirs = copy(reproduced, tmp_path / "ours"), copy(reproduced, tmp_path / "theirs")
    for root in (ours, theirs):
        path = root / edit[0]
        path.write_text(path.read_text().replace(*edit[1:]))
    run(theirs, "dvc", "repro", "-q")
    repro(ours, "-j", "3")
    assert differences(ours, theirs) == {}


def test_targets_are_those_of_dvc(project: Path, empty: Path, tmp_path: Path) -> None:
    theirs = copy(empty, tmp_path / "theirs")
    run(theirs, "dvc", "repro", "-q", "part@b", "sub/dvc.yaml:inner")
    repro(project, "part@b", "sub/dvc.yaml:inner", "--jobs", "2")
    assert differences(project, theirs) == {}
    assert "missing" in repro(project, "missing", code=1)


def test_a_missing_file_of_another_project_is_named_with_the_command_that_makes_it(
    project: Path, tmp_path: Path
) -> None:
    other = project / "other"
    other.mkdir()
    run(other, "dvc", "init", "-q", "--subdir")
    reads = "stages: {outer: {cmd: cp ../data/a.txt copied, deps: [../data/a.txt], outs: [copied]}}\n"
    (other / "dvc.yaml").write_text(reads)
    printed = repro(other, code=1)
    assert printed == "trainlab: outer needs ../data/a.txt, which is missing: `dvc --cd .. repro prepare` makes it\n"
    run(other, *shlex.split(re.findall("`(.+)`", printed)[0]))
    assert "1 ran" in repro(other)
    (other / "dvc.yaml").write_text(reads.replace("../data/a.txt", "../nowhere/x.txt"))
    assert repro(other, code=1) == "trainlab: outer needs ../nowhere/x.txt, which is missing\n"


def test_results_come_from_the_run_cache(reproduced: Path, tmp_path: Path) -> None:
    root = copy(reproduced, tmp_path)
    params = root / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("k: 3", "k: 4"))
    repro(root, "part@a", "-j", "2")
    params.write_text(before)
    assert "wrote parts/a.txt" not in repro(root, "part@a", "-j", "2", SLEEP="1")
    assert (root / "parts/a.txt").read_text() == (reproduced / "parts/a.txt").read_text()
    assert (root / "dvc.lock").read_text() == (reproduced / "dvc.lock").read_text()


def test_stages_run_at_the_same_time(project: Path, processes: list[subprocess.Popen[str]]) -> None:
    run(project, "dvc", "repro", "-q", "prepare")
    process = start(project, processes, "--jobs", "4", "part", "report", "keep", SLEEP="3")
    commands(process, 4)
    process.communicate(timeout=100)
    assert process.returncode == 0


def test_a_failure_lets_running_stages_finish_and_starts_no_other(project: Path) -> None:
    (project / "broken").touch()
    printed = repro(project, "--jobs", "2", code=1)
    assert "part@a: FAILED" in printed
    assert "this stage is broken" in printed
    assert "zlast" not in printed
    assert "keep" not in printed
    assert not (project / "last.txt").exists()
    (project / "broken").unlink()
    again = repro(project, "--jobs", "2")
    assert "prepare: done in" not in again


UNEQUAL = """
stages:
  bad: {cmd: "sleep 1 && exit 1", outs: [bad.txt]}
  slow: {cmd: "sleep 5 && touch slow.txt", outs: [slow.txt]}
  third: {cmd: "touch third.txt", outs: [third.txt]}
"""


def test_what_runs_during_a_failure_is_kept_and_what_does_not_is_not_started(project: Path) -> None:
    (project / "dvc.yaml").write_text(UNEQUAL)
    printed = repro(project, "--jobs", "2", code=1)
    assert "slow: done in" in printed
    assert "3 stages: 1 ran, 1 failed, 1 not started" in printed
    assert "slow:" in (project / "dvc.lock").read_text()
    assert not (project / "third.txt").exists()


def test_keep_going_runs_what_does_not_depend_on_the_failure(project: Path) -> None:
    (project / "broken").touch()
    printed = repro(project, "--jobs", "2", "--keep-going", code=1)
    assert printed.count("FAILED") == 4
    assert "report: done in" in printed
    assert "inner: done in" in printed
    assert "not started" in printed
    (project / "broken").unlink()
    assert "report: done in" not in repro(project, "--jobs", "2")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.faults)]
)
def test_a_signal_ends_every_process_and_the_same_command_continues(
    number: signal.Signals, code: int, project: Path, reproduced: Path, processes: list[subprocess.Popen[str]]
) -> None:
    run(project, "dvc", "repro", "-q", "prepare")
    process = start(project, processes, "--jobs", "3", SLEEP="60")
    children = commands(process, 3)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == code, printed
    assert "the same command continues" in printed
    assert "runs again" not in printed
    assert psutil.wait_procs(children, timeout=20)[1] == []
    repro(project, "--jobs", "3")
    assert differences(project, reproduced) == {}


def continues(command: str, project: Path, reproduced: Path) -> None:
    """Check that `dvc repro` or `trainlab repro` ends a run that was killed, with the bytes of one that was not."""
    if command == "dvc":
        run(project, "dvc", "repro", "-q")
    else:
        repro(project)
    assert differences(project, reproduced) == {}


@pytest.mark.parametrize("command", ["dvc", pytest.param("trainlab", marks=pytest.mark.faults)])
def test_after_a_kill_no_process_is_left_and_both_commands_continue(
    command: str, project: Path, reproduced: Path, processes: list[subprocess.Popen[str]]
) -> None:
    run(project, "dvc", "repro", "-q", "prepare")
    process = start(project, processes, "--jobs", "3", SLEEP="60")  # only a signal ends them in time
    children = commands(process, 2)
    process.kill()
    process.wait()  # until then DVC takes it for alive
    assert psutil.wait_procs(children, timeout=30)[1] == []
    continues(command, project, reproduced)


@pytest.mark.faults
@pytest.mark.parametrize("command", ["dvc", "trainlab"])
def test_kills_at_random_moments_lose_nothing(
    command: str, project: Path, reproduced: Path, processes: list[subprocess.Popen[str]]
) -> None:
    moments = random.Random(command)
    for _ in range(KILLS):
        # dvc.lock is written all the time.
        process = start(project, processes, "--jobs", "3", record=0, SLEEP="0.1")
        time.sleep(moments.uniform(1.5, 6))
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        assert psutil.wait_procs(children, timeout=30)[1] == []
    continues(command, project, reproduced)


def test_a_second_one_says_at_once_that_the_first_is_running(
    project: Path, processes: list[subprocess.Popen[str]]
) -> None:
    first = start(project, processes, "--jobs", "2", SLEEP="60")
    commands(first, 1)
    assert f"`trainlab repro` is running here already, as process {first.pid}" in repro(project, code=1)
    assert "another command of DVC is working on these files" in repro(project, "--dry", code=1)
    assert first.poll() is None


def test_cores_are_divided_among_jobs(project: Path) -> None:
    from trainlab.scale.pipeline import WORKERS
    from trainlab.training import devices

    assert WORKERS == devices.WORKERS
    (project / "dvc.yaml").write_text(
        "stages:\n  show:\n    foreach: [a, b]\n    do:\n"
        "      cmd: echo workers $TRAINLAB_WORKERS > ${item}.txt && sleep 1\n      outs: ['${item}.txt']\n"
    )
    repro(project, "--jobs", "2")
    shares = {(project / f"{name}.txt").read_text() for name in "ab"}
    assert shares == {f"workers {max(1, (os.cpu_count() or 1) // 2)}\n"}
    repro(project, "--jobs", "2", "--force", TRAINLAB_WORKERS="7")
    assert (project / "a.txt").read_text() == "workers 7\n"
    repro(project, "--jobs", "1", "--force")
    assert (project / "a.txt").read_text() == "workers\n"


def test_a_command_whose_guard_was_killed_ends(project: Path, processes: list[subprocess.Popen[str]]) -> None:
    run(project, "dvc", "repro", "-q", "prepare")
    process = start(project, processes, "--jobs", "1", "--retries", "0", "part@a", SLEEP="60")
    children = commands(process, 1)
    next(child for child in children if any("guard.py" in word for word in cmdline(child))).kill()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1, printed
    assert psutil.wait_procs(children, timeout=20)[1] == []


@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.faults), signal.SIGTERM])
def test_a_stage_that_is_ended_from_outside_runs_again(
    number: signal.Signals, project: Path, reproduced: Path, processes: list[subprocess.Popen[str]]
) -> None:
    process = start(project, processes, "--jobs", "1", "prepare", SLEEP="2")
    tools = [child for child in commands(process, 1) if cmdline(child)[1:2] == ["tool.py"]]
    tools[0].send_signal(number)
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    again = [line for line in printed.splitlines() if "runs again" in line]
    assert len(again) == 1
    assert re.fullmatch(rf"stage \d+ of \d+: prepare: ended by {number.name}.*: runs again, attempt 2 of 2", again[0])
    assert printed.count(": prepare\n") == 1
    repro(project)
    assert differences(project, reproduced) == {}


ATTEMPTS = """
stages:
  one:
    cmd: echo x >> attempts && {end}
    deps: [raw.csv]
    outs: [{{one.txt: {{persist: true}}}}]
"""


@pytest.mark.parametrize(
    ("end", "options", "attempts", "says"),
    [
        ("kill -KILL $$", (), 2, r"one: FAILED after .*: ended by SIGKILL.* \(attempt 2 of 2\)"),
        ("kill -TERM $$", ("--retries", "3"), 4, r"one: FAILED after .*: ended by SIGTERM \(attempt 4 of 4\)"),
        ("exit 143", ("--retries", "0"), 1, r"one: FAILED after .*: ended by SIGTERM \(attempt 1 of 1\)"),
        ("exit 1", (), 1, r"one: FAILED after .*: failed to run: .*, exited with 1"),
        ("kill -SEGV $$", (), 1, r"one: FAILED after .*: failed to run: .*, exited with 139"),
    ],
)
def test_what_runs_again_and_how_often(
    end: str, options: tuple[str, ...], attempts: int, says: str, project: Path
) -> None:
    (project / "dvc.yaml").write_text(ATTEMPTS.format(end=end))
    printed = repro(project, *options, code=1)
    assert (project / "attempts").read_text() == "x\n" * attempts
    assert re.search(says, printed)


def test_a_second_attempt_is_not_taken_for_up_to_date(project: Path) -> None:
    """DVC's stage has the hashes of its new inputs by then, and an output with `persist` is still there."""
    end = "if test -e dies; then rm dies; kill -KILL $$; fi; cp raw.csv one.txt"
    (project / "dvc.yaml").write_text(ATTEMPTS.format(end=end))
    repro(project)
    (project / "raw.csv").write_text("new\n")
    (project / "dies").touch()
    assert "one: done in" in repro(project)
    assert (project / "one.txt").read_text() == "new\n"
    assert not (project / "dies").exists()


@pytest.mark.faults
def test_a_signal_reaches_a_command_that_is_just_starting(
    project: Path, processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    run(project, "dvc", "repro", "-q", "prepare")
    (tmp_path / "sitecustomize.py").write_text(
        "import subprocess, sys, time\n"
        "start = subprocess.Popen.__init__\n"
        "def slowly(self, words, *rest, **own):\n"
        "    start(self, words, *rest, **own)\n"
        "    if any('guard.py' in str(word) for word in words):\n"
        "        open('started', 'w').close()\n"
        "        time.sleep(3)\n"
        "subprocess.Popen.__init__ = slowly\n"
    )
    process = start(project, processes, "--jobs", "1", "part@a", SLEEP="60", PYTHONPATH=str(tmp_path))
    end = time.monotonic() + 60
    while not (project / "started").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=50)
    assert process.returncode == 130, printed


def test_errors_name_the_next_step(project: Path, tmp_path: Path) -> None:
    assert "`dvc stage list` shows all stages" in repro(project, "missing", code=1)
    (project / "dvc.yaml").write_text("stages:\n  broken: {cmd: [}\n")
    assert "`dvc status` says more" in repro(project, code=1)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "dvc.yaml").write_text("stages: {}\n")
    assert "make one with `dvc init`" in repro(alone, code=1)


def test_a_project_inside_of_a_project(project: Path, tmp_path: Path) -> None:
    """As the studies are: with a dependency outside of the project, and a link to the source."""
    inner = project / "studies"
    inner.mkdir()
    run(inner, "dvc", "init", "-q", "--subdir")
    run(inner, "dvc", "config", "cache.dir", "../../.dvc/cache")
    (inner / "src").symlink_to("../rawdir")
    (inner / "dvc.yaml").write_text(
        "stages:\n  one:\n    foreach: [a, b]\n    do:\n      cmd: python ../tool.py ${item}.txt ../raw.csv src\n"
        "      deps: [../tool.py, ../raw.csv, src]\n      outs: ['${item}.txt']\n"
    )
    other = copy(project, tmp_path / "other")
    run(other / "studies", "dvc", "repro", "-q")
    repro(inner, "--jobs", "2")
    assert differences(project, other) == {}
