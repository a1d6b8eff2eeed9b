"""Stage `resolve` of the search: check search/params.yaml and write what the trials are made of.

cd search && python ../stages/resolve_search.py
"""

from pathlib import Path

import _start  # noqa: F401
from trainlab.cli import run_stage
from trainlab.files import write_text
from trainlab.search import params


def main() -> None:
    """Check params.yaml and write its values, with the fingerprint of the code that trains the trials, to resolved.yaml."""
    settings = params.load(Path("params.yaml"))
    write_text(Path("resolved.yaml"), params.resolved(settings))
    print(f"resolved.yaml: {', '.join(settings.space)}")


if __name__ == "__main__":
    run_stage(main)
