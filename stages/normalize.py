"""Stage `normalize`: convert the files in data/raw to arrays in data/normalized, in the same format for each source.

python stages/normalize.py
"""

from pathlib import Path

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import run_stage
from trainlab.data import sources, stored

NORMALIZED = Path("data/normalized")


def main() -> None:
    """Convert the files in data/raw to train.safetensors, test.safetensors and stats.json in data/normalized."""
    settings = config.load_data(Path("params.yaml"))

    train, test, classes = sources.get(settings).read(Path("data/raw"))
    stored.save(NORMALIZED, train, test, classes)

    channels, height, width = train.images.shape[1:]
    counts = f"{len(train.images):,} training and {len(test.images):,} test images"
    print(f"{NORMALIZED}: {counts}, {len(classes)} classes, {width}x{height} pixels, {channels} channels")


if __name__ == "__main__":
    run_stage(main)
