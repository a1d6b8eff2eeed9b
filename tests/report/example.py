"""A report of three small runs in memory, with names that would break a careless page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from trainlab.data.stored import Dataset
from trainlab.evaluation import comparison, effects
from trainlab.evaluation.metrics import Predictions, evaluate
from trainlab.evaluation.mistakes import confused_pairs, surest_mistakes
from trainlab.evaluation.tables import read_csv
from trainlab.report.content import File, Images, Missing, Report, Run, Search, Study, Suite

LONG = "a_run_with_a_name_that_is_longer_than_the_screen_of_any_phone_is_wide_and_goes_on_0123456789"
RUNS = ("plain", LONG, "better")  # not in alphabetical order
AGAINST = {"plain": None, LONG: "plain", "better": "plain"}
ACCURACY = {"plain": 0.5, LONG: 0.45, "better": 0.95}
CLASSES = ("ant", "<script>alert(1)</script>", 'bee\'s "wing" & co')
IMAGES, SEEDS = 120, 2
TRAINING = {
    "epochs": 3,
    "subset": None,
    "validation": None,
    "precision": "float32",
    "trained_on": "CPU (AVX2), 1 thread",
    "threads": 1,
    "torch": "2.15.0",
}
RECORD = {"training": TRAINING, "model": {"parameters": 1234, "weights": 1200, "near_zero": 0.0}}
INHERITED = {"lr": 1e-3, "model": "tf_cnn", "seed": 0}
CONFIG: dict[str, dict[str, Any]] = {
    run: {"run": run, "suite": "tricks", "seed": 0, "lr": 1e-3, "model": {"name": "tf_cnn"}, "code": "0123456789abcdef"}
    for run in RUNS
}
CONFIG["better"] |= {"lr": 2e-3, "model": {"name": "tf_cnn", "dropout_conv": 0.2}}
SAYS = "the loss starts at 1.1 <b>and</b> should be 1.1"
CHECK = {
    "passed": True,
    "because": "it is <small>",
    "checks": {"initial_loss": {"expected": 1.1, "seen": 1.1, "passed": True, "says": SAYS}},
    "layer_images": 250,
}
LAYERS = DataFrame(
    [{"layer": "conv1", "mean": 0.1, "std": 1.0, "never_positive": 0.25, "gradient_mean": 0.0, "gradient_std": 1e-3}]
)


def labels() -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Return the labels of the test images."""
    return np.arange(IMAGES) % len(CLASSES)


def predictions(run: str) -> Predictions:
    """Return scores of a run, whose accuracy is about that of :data:`ACCURACY`."""
    random = np.random.default_rng(RUNS.index(run))
    right = random.random((SEEDS, IMAGES)) < ACCURACY[run]
    predicted = np.where(right, labels(), (labels() + 1) % len(CLASSES))
    noise = random.normal(scale=0.3, size=(SEEDS, IMAGES, len(CLASSES)))
    return Predictions((3 * np.eye(len(CLASSES))[predicted] + noise).astype(np.float32), labels(), CLASSES)


def history(run: str) -> DataFrame:
    """Return the history of a run; only `better` logs a reward."""
    rows = [
        {
            "replica": seed,
            "epoch": epoch,
            "lr": 1e-3 / epoch,
            "train_loss": 2 / epoch + seed / 10,
            "train_accuracy": 0.3 + epoch / 10,
            "test_loss": 2.2 / epoch + seed / 10,
            "test_accuracy": ACCURACY[run] - 0.1 + epoch / 40 + seed / 50,
            **({"reward": epoch / 4} if run == "better" else {}),
        }
        for seed in range(SEEDS)
        for epoch in (1, 2, 3)
    ]
    return DataFrame(rows)


def suite(directory: Path, *, name: str = "tricks") -> Suite:
    """Return a suite; the files that the stages write of each run are written to a directory and read again."""
    scored = {run: predictions(run) for run in RUNS}
    runs = []
    for run in RUNS:
        metrics = evaluate(scored[run].scores, labels(), CLASSES)
        metrics.save(directory / f"{run}.json", RECORD)
        metrics.save_classes(directory / f"{run}-classes.csv")
        metrics.save_confusion(directory / f"confusion/{run}.csv")
        metrics.save_reliability(directory / f"reliability/{run}.csv")
        classes = read_csv(directory / f"{run}-classes.csv", ["class"], "evaluate", names=["class"])
        runs.append(
            Run(
                name=run,
                config=CONFIG[run],
                inherited=INHERITED,
                metrics=json.loads((directory / f"{run}.json").read_text()),
                classes=classes.apply(lambda column: column if column.name == "class" else pd.to_numeric(column)),
                confusion=comparison.read_confusion(directory / f"confusion/{run}.csv"),
                reliability=pd.read_csv(directory / f"reliability/{run}.csv"),
                check=CHECK,
                layers=LAYERS,
                timing=comparison.Timing(1.5, SEEDS, 1),
                mistakes=surest_mistakes(scored[run]),
            )
        )
    histories = {run: history(run) for run in RUNS}
    right = {run: effects.correct(of_run) for run, of_run in scored.items()}
    compared = effects.compare_all([(run, other) for run, other in AGAINST.items() if other], scored, 0.01)
    return Suite(
        name=name,
        against=AGAINST,
        margin=0.01,
        table=comparison.table({run.name: run.metrics for run in runs}),
        effects=effects.table(compared),
        pairs=effects.pairs(right),
        seeds=effects.seeds(compared, right, dict.fromkeys(RUNS, 0.75)),
        curves=comparison.curves(histories),
        logs=comparison.logs(histories),
        confused=confused_pairs(scored.values()),
        runs=runs,
    )


def images(channels: int = 3, side: int = 8) -> Images:
    """Return a small data set."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, channels, side, side)).astype(np.uint8)
    split = Dataset(pixels, labels(), list(CLASSES), [0.5] * channels, [0.25] * channels, pixels[0] / np.float32(255))
    files = [File("<data>.bin", 4096, "d41d8cd98f00b204e9800998ecf8427e")]
    source = {"source": "cifar10", "path": "data/folder", "image_size": 32}
    return Images(source, split, split, files, files)


def report(directory: Path) -> Report:
    """Return a report with one suite, one study and a search."""
    shown = suite(directory)
    png = (Path(__file__).parents[2] / "docs/search-digits.png").read_bytes()
    study = Study("alpha", shown.table, shown.effects, {"capacity": png})
    trials = DataFrame(
        {
            "round": ["1", "1"],
            "move": ["", ""],
            "trial": ["1", "2"],
            "state": ["complete", "pruned"],
            "lr": ["1e-3", "2e-2"],
        }
    )
    result = {
        "values": {"lr": 1e-3},
        "round": 1,
        "trial": 1,
        "validation_loss": 0.5,
        "validation_accuracy": 0.8,
        "validation_images": 100,
        "test_accuracy": 0.79,
        "test_images": IMAGES,
    }
    timing = {"seconds": 120.0, "trials": 2, "trained_on": "CPU (AVX2), 1 thread"}
    search = Search(trials, result, "best:\n  lr: 1.0e-3\n", timing, {})
    missing = Missing("No results here: `dvc --cd studies repro compare@epsilon` makes them.")
    return Report({"tricks": shown}, images(), {"alpha": study, "epsilon": missing}, search)
