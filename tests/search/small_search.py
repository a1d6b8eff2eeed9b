"""A search of seconds that the tests of searching share."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from small import dataset
from trainlab.data.stored import Data
from trainlab.search import params
from trainlab.search.params import Search
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
        {"name": "by heart", "vary": ["lr"], "trials": 4, "epochs": 3, "subset": 12, "judged_by": "train_loss"},
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
    """The parameters above, with these in place of theirs."""
    return {**PARAMS, **own}


def one_round(**own: Any) -> dict[str, Any]:
    """The parameters above with a single round that varies the rate."""
    rate = {"name": "rate", "vary": ["lr"], "trials": 4, "epochs": 2, "judged_by": "validation_loss"}
    return changed(space={"lr": PARAMS["space"]["lr"]}, rounds=[{**rate, **own}])


def load(directory: Path, content: dict[str, Any]) -> Search:
    """These parameters, by way of a file."""
    path = directory / "params.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return params.load(path)


def data(size: int = 20) -> Data:
    """Training images, and test images of the same classes."""
    train, test = dataset(count=48, size=size), dataset(count=12, seed=1, size=size)
    return Data(train, replace(train, images=test.images, labels=test.labels))


class Said(SearchProgress):
    """A progress that keeps its lines."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(Console(file=self.text, width=1000))

    @property
    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()

    def trials(self) -> list[str]:
        """The lines of trials that ran, without how long they took."""
        return [line.rpartition("  ")[0] for line in self.lines if line.startswith("  ")]
