"""Stage `download`: fetch and verify the files of the source in params.yaml.

python stages/download.py
"""

from pathlib import Path

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import run_stage
from trainlab.data import sources
from trainlab.files import directory_written_whole

RAW = Path("data/raw")


def main() -> None:
    """Fetch and verify the files of the source that params.yaml selects, and write them to data/raw.

    CIFAR-10 is downloaded from its official address, or read from the directory, archive or URL in the environment
    variable CIFAR10_MIRROR.
    """
    settings = config.load_data(Path("params.yaml"))

    with directory_written_whole(RAW) as aside:
        sources.get(settings).fetch(aside)

    sizes = [file.stat().st_size for file in RAW.rglob("*") if file.is_file()]
    print(f"{RAW}: {settings.source}, {len(sizes)} file{'s'[: len(sizes) > 1]}, {sum(sizes):,} bytes")


if __name__ == "__main__":
    run_stage(main)
