"""The library is installed by the path of a checkout; an experiment in a copy of the repository runs the copy's code."""

import re
from pathlib import Path

from pipeline.scratch import Scratch

PRINT = (
    "\nimport multiprocessing\nprint('loop in', multiprocessing.current_process().name, 'is', __file__, flush=True)\n"
)


def test_an_experiment_runs_the_edited_source_in_its_worker_processes_too(data_repo: Scratch) -> None:
    repo = data_repo
    installed = repo.run("python", "-c", "import trainlab; print(trainlab.__file__)").stdout.strip()
    assert not Path(installed).is_relative_to(repo.root)

    repo.append("src/trainlab/training/loop.py", PRINT)
    two_workers = ("env", "TRAINLAB_WORKERS=2")  # one per replica
    shown = repo.run(*two_workers, "dvc", "exp", "run", "--temp", "-S", "replicas=2", "train@baseline", timeout=600)
    assert shown.ran("train") == {"baseline"}
    imported = set(re.findall(r"loop in (\S+) is (.+)$", shown.stdout, re.MULTILINE))
    processes = {process for process, _ in imported}
    assert "MainProcess" in processes
    assert processes & {"LokyProcess-1", "LokyProcess-2"}  # one of them may have trained both replicas
    copies = (repo.root / ".dvc/tmp/exps").resolve()
    assert [file for _, file in imported if not Path(file).is_relative_to(copies)] == []
