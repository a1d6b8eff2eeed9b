import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from small import data, run_config
from trainlab.errors import UserError
from trainlab.training import devices, replicas

SRC = Path(__file__).parents[2] / "src"
CPU = torch.device("cpu")
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
import trainlab.config.runs, trainlab.training.history, trainlab.training.loop, trainlab.training.progress
print(*sorted(sys.modules))
"""


def python(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, SRC, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_is_kept_between_steps() -> None:
    assert int(python(FAULTS, "keep")) < int(python(FAULTS, "return")) / 10


@pytest.mark.slow
def test_a_training_stage_imports_nothing_slow_that_it_does_not_need() -> None:
    modules = python(STARTED).split()
    assert "torch" in modules
    slow = re.compile(r"(torchvision|torch\._dynamo|sympy|pandas|matplotlib|sklearn|scipy|dvc|requests)(\.|$)")
    assert [name for name in modules if slow.match(name)] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_is_chosen_by_name() -> None:
    assert devices.choose("cpu") == devices.choose("auto") == CPU
    with pytest.raises(UserError, match="device is cuda, and PyTorch finds no GPU"):
        devices.choose("cuda")


def settings() -> set[str]:
    cudnn: Any = torch.backends.cudnn
    return {cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, torch.backends.cuda.matmul.fp32_precision}


def test_float32_is_ieee_on_a_gpu_unless_tf32_is_asked_for() -> None:
    devices._set_float32("tf32")
    devices.prepare("cpu", 1)
    assert settings() == {"ieee"}
    with devices.float32_arithmetic("tf32"):
        assert settings() == {"tf32"}
        with devices.float32_arithmetic("ieee"):
            assert settings() == {"ieee"}
        assert settings() == {"tf32"}
    assert settings() == {"ieee"}
    cudnn: Any = torch.backends.cudnn
    cudnn.conv.fp32_precision = "tf32"
    with devices.float32_arithmetic("ieee"):
        assert settings() == {"ieee"}
    assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == ("tf32", "ieee")
    devices.prepare("cpu", 1)


def test_training_on_a_cpu_starts_cuda_on_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("CUDA is used")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("get_rng_state", "set_rng_state", "manual_seed", "manual_seed_all", "_lazy_init", "_lazy_call"):
        monkeypatch.setattr(torch.cuda, name, start)
    replicas.train(run_config(epochs=1), data())


def test_seeding_draws_as_manual_seed_does_and_restores_the_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    state = torch.random.get_rng_state()
    with devices.seeded(5, CPU):
        assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("capabilities", "precision", "slow"),
    [
        ({}, "bfloat16", True),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "bfloat16", True),
        ({"avx512_bf16": True}, "bfloat16", False),
        ({"amx_bf16": True}, "bfloat16", False),
        ({"neon": True, "bf16": True}, "bfloat16", False),
        ({}, "float32", False),
        ({}, "tf32", False),
    ],
    ids=str,
)
def test_emulated_bfloat16_is_reported(
    capabilities: dict[str, bool], precision: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    note = devices.slow_arithmetic(CPU, precision)
    assert bool(note) is slow
    assert "\n" not in note
    assert not note or note.startswith("this CPU has no bfloat16 instructions")
    assert devices.slow_arithmetic(torch.device("cuda"), precision) == ""


@pytest.mark.parametrize(
    ("device", "capability", "precision", "used"),
    [
        ("cpu", None, "float32", "float32"),
        ("cpu", None, "tf32", "float32"),
        ("cpu", None, "bfloat16", "bfloat16"),
        ("cuda", (9, 0), "tf32", "tf32"),
        ("cuda", (8, 0), "tf32", "tf32"),
        ("cuda", (7, 5), "tf32", "float32"),
        ("cuda", (7, 5), "bfloat16", "bfloat16"),
    ],
)
def test_the_description_has_the_precision_that_was_used(
    device: str, capability: tuple[int, int] | None, precision: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    devices.prepare("cpu", 1)
    assert devices.describe(torch.device(device), precision) == {
        "device": "cpu" if device == "cpu" else "a GPU",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
        "torch": torch.__version__,
        "precision": used,
    }


def test_more_threads_than_a_machine_can_run_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    before = torch.get_num_threads()
    devices.prepare("cpu", 1)
    with pytest.raises(UserError, match="threads is 129, and this machine has 2 cores: set at most 128"):
        devices.prepare("cpu", 129)
    assert torch.get_num_threads() == 1
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    devices.prepare("cpu", 512)
    with pytest.raises(UserError, match="set at most 512"):
        devices.prepare("cpu", 513)
    monkeypatch.undo()
    torch.set_num_threads(before)


def test_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loky.cpu_count", lambda: 16)
    cpu = torch.device("cpu")
    monkeypatch.delenv(devices.WORKERS)
    assert devices.workers(6, 1, cpu) == 6
    assert devices.workers(20, 1, cpu) == 16
    assert devices.workers(6, 4, cpu) == 4
    assert devices.workers(6, 32, cpu) == 1
    assert devices.workers(6, 1, torch.device("cuda")) == 1
    monkeypatch.setenv(devices.WORKERS, "3")
    assert devices.workers(6, 1, cpu) == 3
    assert devices.workers(2, 1, cpu) == 2
    for text in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv(devices.WORKERS, text)
        with pytest.raises(UserError, match=r"TRAINLAB_WORKERS is .*set it to a whole number from 1"):
            devices.workers(6, 1, cpu)
