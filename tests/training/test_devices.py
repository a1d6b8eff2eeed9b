import re
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
FAULTS = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import torch
from trainlab.training import devices
if sys.argv[2] == "keep":
    devices.prepare("cpu", 1)
for step in range(30):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(12_000_000) for _ in range(3)]  # 48 MB each, more than glibc ever keeps by itself
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
STARTED = """
import sys
sys.path.insert(0, sys.argv[1])
import trainlab.training.loop, trainlab.training.model_file, trainlab.config, trainlab.training.progress, trainlab.training.history
print(*sorted(sys.modules))
"""


def python(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, SRC, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_is_kept_between_steps() -> None:
    assert int(python(FAULTS, "keep")) < int(python(FAULTS, "give back")) / 10


def test_a_training_stage_imports_nothing_slow_that_it_does_not_need() -> None:
    modules = python(STARTED).split()
    assert "torch" in modules
    slow = re.compile(r"(torchvision|torch\._dynamo|sympy|pandas|matplotlib|sklearn|scipy|dvc|requests)(\.|$)")
    assert [name for name in modules if slow.match(name)] == []
