"""Bytes that are missing or flipped, in each kind of file that a stage reads: one line, or what the file says.

A changed digit in a file of text is no damage that a reader can see. DVC sees it by the checksum, and runs the stage again
that writes the file: the second part of this module.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.scratch import Scratch
from suite_results import check, write_results
from trained import small_model
from trainlab.data import stored
from trainlab.errors import UserError
from trainlab.evaluation.comparison import (
    curves,
    read_confusion,
    read_histories,
    read_layers,
    read_metrics,
    read_suite,
    read_timing,
    table,
)
from trainlab.evaluation.metrics import Predictions
from trainlab.training import model_file

PLACES = 60


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    write_results(root)
    check(root, "plain")
    small_model().save(root / "models/small.safetensors")
    images = np.random.default_rng(0).integers(0, 255, (8, 3, 4, 4), dtype=np.uint8)
    split = stored.Split(images, np.arange(8) % 2)
    stored.save(root / "data", split, split, ["ant", "bee"])
    return root


FILES: dict[str, Callable[[Path], Any]] = {
    "models/small.safetensors": model_file.load,
    "predictions/tricks/plain.safetensors": Predictions.load,
    "plots/history/tricks/plain.csv": lambda path: curves(read_histories(path.parent, ["plain"])),
    "metrics/tricks/plain.json": lambda path: table(read_metrics(path.parent, ["plain"])),
    "metrics/checks/tricks/plain.json": read_layers,
    "plots/confusion/tricks/plain.csv": read_confusion,
    "timings/tricks/plain.json": read_timing,
    "configs/tricks/_suite.yaml": lambda path: read_suite(path.parent),
    "data/train.safetensors": stored.load,
    "data/stats.json": lambda path: stored.load(path.with_name("train.safetensors")),
}


def damages(whole: bytes) -> Iterator[bytes]:
    """Yield the content cut at each of the places, and with one flipped bit."""
    for place in np.linspace(0, len(whole) - 1, PLACES, dtype=int):
        yield whole[:place]
        yield whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_one_line_or_is_read(name: str, results: Path) -> None:
    path = results / name
    whole = path.read_bytes()
    FILES[name](path)
    errors = 0
    try:
        for content in damages(whole):
            path.write_bytes(content)
            try:
                FILES[name](path)
            except UserError as error:
                errors += 1
                [line] = str(error).splitlines()
                assert str(path.parent) in line
                assert "`dvc" in line
                assert len(line) < 2000 + len(str(path))
    finally:
        path.write_bytes(whole)
    assert errors >= PLACES // 4  # cut files, most of all


CONTENTS = {
    "deep nesting": b"[" * 100_000,
    "deep objects": b'{"a": ' * 100_000,
    "nothing": b"null",
    "a list": b"[]",
    "no text": b"\xff\xfe\x00",
    "a long integer": b'{"replicas": ' + b"9" * 5000 + b', "workers": 1, "seconds": 1}',
    "no workers": b'{"replicas": 1, "workers": 0, "seconds": 1}',
    "infinite": b'{"replicas": 1e999, "workers": 1, "seconds": 1, "layer_images": 1e999, "layers": {}}',
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("name", FILES)
def test_other_content_is_one_line(name: str, content: bytes, results: Path) -> None:
    path = results / name
    whole = path.read_bytes()
    try:
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            FILES[name](path)
        assert len(str(caught.value).splitlines()) == 1
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["models/small.safetensors"])
def test_no_damage_of_a_model_is_believed(name: str, results: Path) -> None:
    path = results / name
    whole = path.read_bytes()
    try:
        for content in damages(whole):
            path.write_bytes(content)
            with pytest.raises(UserError):
                FILES[name](path)
    finally:
        path.write_bytes(whole)


DAMAGED = ["models/*.safetensors", "predictions/*/*", "plots/history/*/*", "metrics/tricks/*.json", "timings/*/*"]


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(14))
def test_dvc_repairs_damaged_files(seed: int, repo: Scratch) -> None:
    """Three runs have a file of each kind: 15 damages per seed, 210 in all."""
    rng = np.random.default_rng(seed)
    outputs = ("models", "predictions", "plots", "metrics")
    whole = {name: repo.digests(name) for name in outputs}
    damaged = [path for pattern in DAMAGED for path in sorted(repo.root.glob(pattern))]
    assert len(damaged) == 15
    for path in damaged:
        content = bytearray(path.read_bytes())
        place = int(rng.integers(len(content)))
        if rng.random() < 0.5:
            del content[place:]
        else:
            content[place] ^= 1 << int(rng.integers(8))
        path.unlink()  # a link into the cache, perhaps
        path.write_bytes(content)
    repo.dvc("repro")
    assert {name: repo.digests(name) for name in outputs} == whole
