"""Stage `resolve`: check params.yaml and write the complete configuration of each run.

python stages/resolve.py            # writes configs/SUITE/RUN.yaml
python stages/resolve.py --check    # only says what is wrong
"""

from pathlib import Path
from typing import Annotated

import typer

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import run_stage


def main(
    check: Annotated[bool, typer.Option("--check", help="Only say what is wrong; write nothing.")] = False,
) -> None:
    """Check params.yaml and write the complete configuration of each run to configs/SUITE/RUN.yaml."""
    runs = config.resolve(config.load_params(Path("params.yaml")))
    if not check:
        config.save_all(runs, Path("configs"))
        for suite in dict.fromkeys(run.suite for run in runs.values()):
            print(f"configs/{suite}: {', '.join(name for name, run in runs.items() if run.suite == suite)}")


if __name__ == "__main__":
    run_stage(main)
