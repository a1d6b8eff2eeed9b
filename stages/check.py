"""Stage `check`: check a run before it is trained. Training waits for checks/RUN.passed.

python stages/check.py dropout_conv
"""

from pathlib import Path

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import DataDirectory, Run, run_stage
from trainlab.data import stored
from trainlab.files import write_text
from trainlab.training import checks, model_file


def main(run: Run, data: DataDirectory = Path("data/normalized")) -> None:
    """Check one run before it is trained: initial loss, gradients, overfitting of 100 images, statistics of its layers."""
    settings = config.load(config.find(Path("configs"), run))
    expects = config.load_checks(Path("configs/checks") / f"{run}.yaml")
    images = stored.load(data / "train.safetensors")
    teacher = model_file.load(Path("models") / f"{settings.teacher}.safetensors") if settings.teacher else None

    report = checks.check(settings, expects, images, teacher)

    report.save(Path("metrics/checks") / settings.suite / f"{run}.json")
    if report.because:
        print(f"{run}: checked with values of its own: {report.because}")
    for result in report.results:
        print(f"{run}: {result.name}: {'passed' if result.passed else 'FAILED'}: {result.says}")
    report.raise_problems()
    write_text(Path("checks") / f"{run}.passed", "passed\n")  # the same whatever was measured: see dvc.yaml


if __name__ == "__main__":
    run_stage(main)
