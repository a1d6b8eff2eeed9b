"""Stage `report`: all results on one page, a file that needs nothing else.

python stages/report.py
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

import _start  # noqa: F401
from trainlab.cli import run_stage
from trainlab.config import inheritance, reading
from trainlab.data import stored
from trainlab.evaluation import comparison
from trainlab.evaluation.mistakes import Mistake, Pair
from trainlab.evaluation.tables import read_csv
from trainlab.files import reading as reading_file
from trainlab.files import write_text
from trainlab.report import page
from trainlab.report.content import File, Images, Missing, Report, Run, Search, Study, Suite

EFFECTS = ["run", "against", "effect", "low", "high", "p_holm", "margin", "seeds", "seeds_against", "verdict", "answer"]
PAIRS = ["run", "against", "effect", "p_holm"]
NAMES = ["run", "precision", "trained_on", "torch", "views"]  # columns of text in a table of runs


def main() -> None:
    """Write report/index.html from the results of all other stages, and those of the studies and the search."""
    params = reading.load(Path("params.yaml"), "run the stage in the root of the project")
    report = Report(
        suites={suite: read_suite(suite, params) for suite in params["suites"]},
        images=read_images(params["data"]),
        studies=read_studies(Path("studies")),
        search=read_search(Path("search")),
    )
    content = page.render(report)
    write_text(Path("report/index.html"), content)
    print(f"report/index.html: {len(content.encode()) / 1e6:.1f} MB")


def read_suite(suite: str, params: Mapping[str, Any]) -> Suite | Missing:
    """Return the results of a suite."""
    configs, metrics, stage = Path("configs") / suite, Path("metrics"), f"compare@{suite}"
    if not (configs / "_suite.yaml").is_file() or not (metrics / f"{suite}.csv").is_file():
        return Missing(f"The suite {suite} has no results here: `dvc repro {stage}` trains and compares its runs.")
    compared = comparison.read_suite(configs)
    against, several = compared.against, len(compared.runs) > 1
    found = comparison.read_metrics(metrics / suite, against)
    confused, mistakes, timings = read_details(metrics / f"{suite}-details.json", stage)
    return Suite(
        name=suite,
        against=against,
        margin=compared.margin,
        table=read(metrics / f"{suite}.csv", ["run", "accuracy"], stage, NAMES),
        effects=read_effects(metrics / f"{suite}-comparisons.csv", stage) if compared.pairs else None,
        pairs=read(metrics / f"{suite}-pairs.csv", PAIRS, stage, ["run", "against"]) if several else None,
        seeds=read(metrics / f"{suite}-seeds.csv", ["seeds"], stage, ["run", "against"]) if compared.pairs else None,
        curves=read(Path("plots/curves") / f"{suite}.csv", comparison.CURVES, stage, ["run"]),
        logs=read(Path("plots/logs") / f"{suite}.csv", comparison.LOGS, stage, ["run", "log"]),
        confused=confused,
        runs=[read_run(suite, run, params, found[run], timings[run], mistakes[run]) for run in against],
    )


def read_details(path: Path, stage: str) -> tuple[list[Pair], dict[str, list[Mistake]], dict[str, comparison.Timing]]:
    """Return what is confused in a suite, and per run the surest mistakes and how long its training took."""
    with reading_file(path, stage):
        details = json.loads(path.read_text(encoding="utf-8"))
        mistakes = {run: [Mistake(**one) for one in found] for run, found in details["mistakes"].items()}
        timings = {run: comparison.Timing(**timing) for run, timing in details["training"].items()}
        return [Pair(**pair) for pair in details["pairs"]], mistakes, timings


def read_run(
    suite: str,
    run: str,
    params: Mapping[str, Any],
    metrics: comparison.RunMetrics,
    timing: comparison.Timing,
    mistakes: Sequence[Mistake],
) -> Run:
    """Return the results of a run."""
    stage, plots = f"compare@{suite}", Path("plots")
    columns = ["class", "precision", "recall", "f1", "support"]
    reliability = ["replica", "bin", "images", "confidence", "accuracy"]
    config = reading.load(Path("configs") / suite / f"{run}.yaml", "run `dvc repro resolve`")
    check = Path("metrics/checks") / suite / f"{run}.json"
    return Run(
        name=run,
        config=config,
        inherited=inheritance.merge_levels(params, {"suite": suite}),
        metrics=metrics,
        classes=read(Path("metrics") / suite / f"{run}-classes.csv", columns, stage, ["class"]),
        confusion=comparison.read_confusion(plots / "confusion" / suite / f"{run}.csv"),
        reliability=read(plots / "reliability" / suite / f"{run}.csv", reliability, stage),
        check=read_json(check, f"check@{run}") if check.is_file() else None,
        layers=comparison.read_layers(check)[0] if check.is_file() else None,
        timing=timing,
        mistakes=mistakes,
    )


def read_effects(path: Path, stage: str) -> DataFrame:
    """Return the comparisons of a suite."""
    return read(path, EFFECTS, stage, ["run", "against", "verdict", "answer"])


def read_images(source: Mapping[str, Any]) -> Images | Missing:
    """Return the data set."""
    raw, normalized = Path("data/raw"), Path("data/normalized")
    if not (normalized / "stats.json").is_file():
        return Missing("The images are not here: `dvc repro normalize` makes them.")
    return Images(
        source=source,
        train=stored.load(normalized / "train.safetensors"),
        test=stored.load(normalized / "test.safetensors"),
        raw=digests(raw),
        normalized=digests(normalized),
    )


def digests(directory: Path) -> list[File]:
    """Return all files below a directory, with their checksums."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return [File(path.relative_to(directory).as_posix(), path.stat().st_size, md5(path)) for path in files]


def md5(path: Path) -> str:
    """Return the MD5 checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def read_studies(studies: Path) -> dict[str, Study | Missing] | Missing:
    """Return the results of the studies."""
    if not any((studies / "metrics").glob("*.csv")):
        return Missing("The studies have no results here: `make studies` runs them.")
    names = reading.load(studies / "params.yaml", "restore it from Git")["suites"]
    return {name: read_study(studies, name) for name in names}


def read_study(studies: Path, name: str) -> Study | Missing:
    """Return the results of a study; what it measures beside the accuracy is in the pictures."""
    path, stage = studies / "metrics" / f"{name}.csv", f"compare@{name}"
    if not path.is_file():
        return Missing(f"No results here: `dvc --cd studies repro {stage}` makes them.")
    return Study(
        name=name,
        table=read(path, ["run", "accuracy"], stage, NAMES),
        effects=read_effects_of_study(studies / "metrics" / f"{name}-comparisons.csv", stage),
        pictures=read_pictures(studies / "plots/measures" / name),
    )


def read_effects_of_study(path: Path, stage: str) -> DataFrame | Missing:
    """Return the comparisons of a study, whose configurations may not be here."""
    if not path.is_file():
        return Missing(f"There are no comparisons here: `dvc --cd studies repro {stage}` makes them.")
    with reading_file(path, stage):
        none = pd.read_csv(path).empty
    return Missing("None of its runs is compared with another one.") if none else read_effects(path, stage)


def read_search(search: Path) -> Search | Missing:
    """Return the result of the search."""
    if not (search / "result.json").is_file():
        return Missing("The search has no results here: `make search` runs it.")
    return Search(
        trials=read_trials(search / "trials.csv"),
        result=read_json(search / "result.json", "search"),
        best=(search / "best.yaml").read_text(encoding="utf-8"),
        timing=read_json(search / "timings.json", "search"),
        pictures=read_pictures(search / "plots"),
    )


def read_trials(path: Path) -> DataFrame:
    """Return the trials as text, because the values of a hyperparameter may be names."""
    with reading_file(path, "search"):
        columns = list(pd.read_csv(path, nrows=0).columns)
    return read_csv(path, ["round", "trial", "state"], "search", names=columns)


def read_pictures(directory: Path) -> dict[str, bytes]:
    """Return the PNG files in a directory, by name."""
    return {path.stem: path.read_bytes() for path in sorted(directory.glob("*.png"))}


def read_json(path: Path, stage: str) -> Any:
    """Return the content of a JSON file."""
    with reading_file(path, stage):
        return json.loads(path.read_text(encoding="utf-8"))


def read(path: Path, columns: list[str], stage: str, names: Sequence[str] = ()) -> DataFrame:
    """Return a table in which the columns ``names`` are text and the others are numbers."""
    rows = read_csv(path, columns, stage, names=names)
    with reading_file(path, stage):
        return rows.apply(lambda column: column if column.name in names else pd.to_numeric(column))


if __name__ == "__main__":
    run_stage(main)
