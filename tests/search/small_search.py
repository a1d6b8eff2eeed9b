"""A search of a few seconds, shared by the tests of the search."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from small import dataset
from trainlab.config import reading
from trainlab.data.stored import Data
from trainlab.evaluation.tables import write_csv
from trainlab.files import write_json
from trainlab.search import engine, params, results
from trainlab.search.params import Search
from trainlab.search.results import Results
from trainlab.training.progress import SearchProgress

PARAMS: dict[str, Any] = {
    "seed": 0,
    "validation": 0.25,
    "sampler": "random",
    "edge": 0.1,
    "moves": 1,
    "base": {
        "suite": "tricks",
        "seed": 0,
        "lr": 1e-2,
        "batch_size": 8,
        "inputs": "standardized",
        "model": {"name": "three_layer", "num_filters": 1, "filter_size": 3, "hidden_dim": 4},
        "objective": "softmax_cross_entropy",
        "optimizer": {"name": "adam", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        "schedule": "constant",
        "threads": 1,
        "device": "cpu",
        "precision": "float32",
    },
    "space": {
        "lr": {"name": "log_uniform", "low": 1e-3, "high": 1e-1},
        "optimizer.weight_decay": {"name": "log_uniform", "low": 1e-5, "high": 1e-2},
        "batch_size": {"name": "choice", "values": [4, 8]},
    },
    "rounds": [
        {"name": "memorize", "vary": ["lr"], "trials": 4, "epochs": 3, "subset": 12, "judged_by": "train_loss"},
        {
            "name": "all",
            "vary": ["lr", "optimizer.weight_decay", "batch_size"],
            "trials": 5,
            "epochs": 2,
            "shrink": 0.5,
            "judged_by": "validation_loss",
        },
    ],
}


def changed(**own: Any) -> dict[str, Any]:
    """Return the parameters above with other values."""
    return {**PARAMS, **own}


def one_round(**own: Any) -> dict[str, Any]:
    """Return the parameters above with a single round that varies the learning rate."""
    rate = {"name": "rate", "vary": ["lr"], "trials": 4, "epochs": 2, "judged_by": "validation_loss"}
    return changed(space={"lr": PARAMS["space"]["lr"]}, rounds=[{**rate, **own}])


def load(directory: Path, content: dict[str, Any]) -> Search:
    """Write and read these parameters."""
    path = directory / "params.yaml"
    path.write_text(reading.dump(content))
    return params.load(path)


def searched(directory: Path, content: dict[str, Any]) -> tuple[engine.Outcome, Results]:
    """Run a search, write its results to this directory, and read them."""
    settings = load(directory, content)
    outcome = engine.run(settings, data(), directory / "trials.db", Said())
    write_csv(directory / "trials.csv", outcome.table())
    write_json(directory / "ranges.json", outcome.ranges())
    write_json(directory / "result.json", outcome.result())
    return outcome, results.read(settings, directory)


def data(size: int = 20) -> Data:
    """Return training images, and test images of the same classes."""
    train, test = dataset(count=48, size=size), dataset(count=12, seed=1, size=size)
    return Data(train, replace(train, images=test.images, labels=test.labels))


class Said(SearchProgress):
    """Progress that keeps its lines."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(Console(file=self.text, width=1000))

    @property
    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()

    def trials(self) -> list[str]:
        """Return the lines of the trials that ran, without their durations."""
        return [line.rpartition("  ")[0] for line in self.lines if line.startswith("  ")]
