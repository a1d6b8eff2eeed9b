"""The memory that a training needs: what the estimate counts, and that a run that cannot fit is refused before it allocates."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from small import data, run_config
from trainlab.errors import UserError
from trainlab.training import memory
from trainlab.training.loop import build
from trainlab.training.replicas import train

CPU = torch.device("cpu")
SHAPE = (3, 20, 20)
SGD = {"name": "sgd"}
ADAM = {"name": "adam", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
LOOKAHEAD = {"every": 2, "decay": 0.5, "power": 1.0}
HUGE = {"name": "convnet", "width": 2**16, "depth": 2, "filter_size": 3, "hidden_dim": 0}


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [(SGD, 2), ({**SGD, "momentum": 0.9}, 3), (ADAM, 4), ({**ADAM, "lookahead": LOOKAHEAD}, 5)],
    ids=["sgd", "momentum", "adam", "lookahead"],
)
def test_weights_gradients_and_the_state_of_the_optimizer_count(optimizer: dict[str, Any], copies: int) -> None:
    config = run_config(optimizer=optimizer)
    net = build(config, SHAPE, 4, CPU)
    own = sum(parameter.numel() for parameter in net.parameters()) * 4
    steps = 2 * 4 * len(list(net.parameters()))  # counters
    assert copies * own <= memory.of_weights(config, net) <= copies * own + steps


def test_a_batch_counts_what_the_forward_pass_keeps() -> None:
    config = run_config(model={"name": "three_layer", "num_filters": 2, "filter_size": 3, "hidden_dim": 5})
    of_images = 3 * 20 * 20 * 4
    convolution, pooled = 2 * 20 * 20 * 4, 2 * 10 * 10 * 4
    positions = 2 * pooled  # of the maxima, as integers of 64 bits
    kept = of_images + convolution + positions + pooled + (5 + 4) * 4
    needs = [memory.needed(config, SHAPE, 4, batch) for batch in (1, 2, 11)]
    assert needs[1] - needs[0] == kept
    assert needs[2] - needs[0] == 10 * kept
    halved = config.model_copy(update={"precision": "bfloat16"})
    assert (
        memory.needed(halved, SHAPE, 4, 2) - memory.needed(halved, SHAPE, 4, 1) == of_images + (kept - of_images) // 2
    )


def test_nothing_is_allocated_and_no_random_number_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.random.get_rng_state()
    config = run_config(model={**HUGE, "initializer": "kaiming_normal"})
    with pytest.raises(UserError) as caught:  # 144 GiB of weights alone
        memory.check(config, SHAPE, 4, CPU, images=1, count=1)
    assert re.fullmatch(
        r"run small: training needs at least 576\.\d GiB of memory, and this machine has [\d.,]+ GiB: lower batch_size"
        r" \(16\) or the size of the model \(convnet\)",
        str(caught.value),
    )
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("batch_size", "images"), [(16, 1000), (10_000, 16)], ids=["batch", "fewer images than a batch"]
)
def test_only_a_run_that_needs_more_than_there_is_is_refused(
    batch_size: int, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run_config(batch_size=batch_size)
    need = memory.needed(config, SHAPE, 4, 16)
    monkeypatch.setattr(memory, "installed", lambda device: 3 * need)
    memory.check(config, SHAPE, 4, CPU, images=images, count=3)
    monkeypatch.setattr(memory, "installed", lambda device: 3 * need - 1)
    with pytest.raises(UserError, match=r"for 3 replicas at the same time.*, or train one .* \(TRAINLAB_WORKERS=1\)$"):
        memory.check(config, SHAPE, 4, CPU, images=images, count=3)


def test_training_asks_before_it_builds_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "trainlab.training.replicas.train_replica", lambda *arguments, **own: pytest.fail("it was built")
    )
    with pytest.raises(UserError, match="training needs at least"):
        train(run_config(model=HUGE), data())


@pytest.mark.parametrize("limit", ["version 2", "version 1", "none"])
def test_the_limit_of_a_container_counts(limit: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory.max").write_text("1048576\n" if limit == "version 2" else "max\n")
    (tmp_path / "memory/memory.limit_in_bytes").write_text("2097152\n" if limit == "version 1" else f"{2**63 - 4096}\n")
    monkeypatch.setattr("psutil.swap_memory", lambda: type("Swap", (), {"total": 7}))
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"total": 2**30}))
    assert memory.installed(CPU) == {"version 2": 2**20, "version 1": 2**21, "none": 2**30}[limit] + 7


# Not ru_maxrss: a process inherits that of the one that started it, here a test process of any size.
PEAK = """
import json, re, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from small import data, run_config
from trainlab.training import memory
from trainlab.training.replicas import train

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

config, images = run_config(**json.loads(sys.argv[2]), epochs=1), data(count=256, size=32)
train(run_config(model={"name": "convnet", "width": 1, "depth": 1, "filter_size": 1, "hidden_dim": 0}, epochs=1), images)
needed = memory.needed(config, images.train.shape, 4, config.batch_size)  # it also imports what it needs
before = peak()
train(config, images)
print(needed, peak() - before)
"""
RECORD = {"name": "record_cnn", "widths": [64, 256, 256], "output_scale": 0.11, "norm_memory": 0.6}
MEASURED: dict[str, dict[str, Any]] = {
    "tf_cnn": {"model": "tf_cnn", "batch_size": 256},
    "tf_cnn with dropout": {"model": {"name": "tf_cnn", "dropout_conv": 0.2, "dropout_dense": 0.2}, "batch_size": 256},
    "shallow in bfloat16": {"model": "shallow", "batch_size": 256, "precision": "bfloat16"},
    "wide hidden layer": {"model": {"name": "three_layer", "num_filters": 64, "filter_size": 3, "hidden_dim": 4096}},
    "resnet18": {"model": {"name": "resnet18", "stem_stride": 2}, "batch_size": 64},
    "record_cnn": {"model": RECORD, "batch_size": 64},
}
QUICK = ("tf_cnn with dropout", "shallow in bfloat16")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "own",
    [pytest.param(own, id=name, marks=[] if name in QUICK else pytest.mark.faults) for name, own in MEASURED.items()],
)
def test_a_training_needs_more_than_the_estimate(own: dict[str, Any]) -> None:
    paths = json.dumps([str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")])
    command = [sys.executable, "-c", PEAK, paths, json.dumps(own)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    needed, used = map(int, done.stdout.split())
    print(f"estimate {needed / 2**20:,.0f} MiB, peak {used / 2**20:,.0f} MiB, ratio {used / needed:.2f}")
    assert needed < used < 4 * needed
