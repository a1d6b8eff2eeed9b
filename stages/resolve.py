"""Stage `resolve`: check params.yaml and write the complete configuration of each run.

python stages/resolve.py            # writes configs/SUITE/RUN.yaml
python stages/resolve.py --check    # only report mistakes
"""

from pathlib import Path
from typing import Annotated

import typer

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import run_stage

TRAIN = Path(__file__).with_name("train.py")


def main(
    check: Annotated[bool, typer.Option("--check", help="Only report mistakes; write nothing.")] = False,
    own_data: Annotated[
        bool,
        typer.Option(help="Whether params.yaml must have the blocks `data` and `checks`; studies share the images."),
    ] = True,
) -> None:
    """Check params.yaml and write the complete configuration of each run to configs/SUITE/RUN.yaml."""
    params = Path("params.yaml")
    values = config.load_params(params)
    runs = config.resolve(values, where=str(params), data=own_data, scripts=[TRAIN])
    if not check:
        checks = config.resolve_checks(values) if own_data else None
        config.save_all(runs, Path("configs"), config.resolve_suites(values), checks)
        for suite in dict.fromkeys(run.suite for run in runs.values()):
            print(f"configs/{suite}: {', '.join(name for name, run in runs.items() if run.suite == suite)}")


if __name__ == "__main__":
    run_stage(main)
