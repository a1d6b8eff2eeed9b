"""Stage `resolve`: check params.yaml and write the complete configuration of each run.

python stages/resolve.py            # writes configs/SUITE/RUN.yaml
python stages/resolve.py --check    # only says what is wrong
"""

from pathlib import Path
from typing import Annotated

import typer

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import Under, run_stage


def main(
    check: Annotated[bool, typer.Option("--check", help="Only say what is wrong; write nothing.")] = False,
    under: Under = Path(),
) -> None:
    """Check params.yaml and write the complete configuration of each run to configs/SUITE/RUN.yaml."""
    params = under / "params.yaml"
    main_pipeline = under == Path()  # the studies use its images, and check nothing
    values = config.load_params(params)
    runs = config.resolve(values, where=str(params), data=main_pipeline)
    if not check:
        config.save_all(runs, under / "configs", config.resolve_checks(values) if main_pipeline else None)
        for suite in dict.fromkeys(run.suite for run in runs.values()):
            print(f"{under / 'configs' / suite}: {', '.join(name for name, run in runs.items() if run.suite == suite)}")


if __name__ == "__main__":
    run_stage(main)
