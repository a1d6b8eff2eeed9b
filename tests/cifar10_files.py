"""Small data sets in the file format of CIFAR-10, for tests."""

import hashlib
import pickle
from pathlib import Path

import numpy as np

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FOLDER = "cifar-10-batches-py"
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


def write_cifar10(directory: Path, *, train_per_batch: int = 20, test: int = 20, seed: int = 0) -> dict[str, str]:
    """Write ``directory/cifar-10-batches-py`` and return the MD5 of each file.

    Labels are 0 to 9 in turn. The classes differ in brightness; the pixels are noisy.
    """
    generator = np.random.default_rng(seed)
    folder = directory / FOLDER
    folder.mkdir(parents=True)
    sizes = dict.fromkeys(BATCHES, train_per_batch) | {"test_batch": test}
    for name, size in sizes.items():
        labels = np.arange(size) % 10
        data = (20 * labels[:, None] + generator.integers(0, 76, (size, 3072))).astype(np.uint8)
        filenames = [f"{name}_{index}.png" for index in range(size)]
        batch = {"batch_label": name, "labels": labels.tolist(), "data": data, "filenames": filenames}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    meta = {"num_cases_per_batch": train_per_batch, "label_names": CLASSES, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def tables(md5s: dict[str, str]) -> dict[str, object]:
    """Return the attributes of torchvision's CIFAR10 that define the official files, for files with these MD5s."""
    return {
        "train_list": [[name, md5s[name]] for name in BATCHES],
        "test_list": [["test_batch", md5s["test_batch"]]],
        "meta": {"filename": "batches.meta", "key": "label_names", "md5": md5s["batches.meta"]},
    }


def trust(repo: Path, md5s: dict[str, str]) -> None:
    """Change a copy of this project so that it treats files with these MD5s as the official ones."""
    with (repo / "src/trainlab/data/sources/cifar10.py").open("a") as module:
        module.write(
            "\n\n_official = _dataset\n\n\n"
            "def _dataset():\n"
            f"    return type('Trusted', (_official(),), {tables(md5s)!r})\n"
        )
