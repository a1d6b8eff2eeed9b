"""Stage `draw` of the search: its pictures, from the numbers of the stage `search`; needs neither trials nor images.

cd search && python ../stages/draw_search.py
"""

from pathlib import Path

import _start  # noqa: F401
from trainlab.cli import run_stage
from trainlab.files import directory_written_whole
from trainlab.search import params, plots, results


def main() -> None:
    """Draw the trials in order, each parameter against the loss, and the importance of the parameters."""
    settings = params.load_resolved(Path("resolved.yaml"))
    found = results.read(settings, Path())
    result = found.result
    caption = (
        f"{result['validation_images']:,} validation images; one seed per trial; trained on {result['trained_on']}"
    )
    with directory_written_whole(Path("plots")) as directory:
        plots.history(found, caption=caption).save(directory / "history.png")
        plots.slices(found, caption=caption).save(directory / "slices.png")
        if picture := plots.importance(found, seed=settings.seed, caption=caption):
            picture.save(directory / "importance.png")
        else:
            print(
                f"importance is not drawn: no round varies two parameters in at least {plots.MIN_TRIALS} complete trials"
            )


if __name__ == "__main__":
    run_stage(main)
