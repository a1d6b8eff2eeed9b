"""The page: what the templates need, and the HTML that they make of it."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from pandas import DataFrame

from trainlab.evaluation import comparison
from trainlab.evaluation.answers import LEVEL
from trainlab.report import charts, configuration, gallery, scales
from trainlab.report.content import Images, Missing, Report, Run, Search, Study, Suite

TEMPLATES = Path(__file__).parent / "templates"
RULES = {  # the first that applies
    "no difference that matters": "the 95 % interval is within ± the margin",
    "no difference shown": f"Holm's p-value is {LEVEL:g} or more: more seeds or more images may show one",
    "helps": "better in the mean over seeds",
    "hurts": "worse in the mean over seeds",
    "better model": "better, from one seed: another one may change that",
    "worse model": "worse, from one seed: another one may change that",
}
ORDER = ["helps", "hurts", "better model", "worse model", "no difference that matters", "no difference shown"]
SAMPLES, SAMPLED_CLASSES = 8, 20  # training images per class; of the first classes
LISTED_FILES = 20
NUMBERED_CLASSES = 20  # a larger confusion matrix has no numbers in its cells
MEASURES = {
    "accuracy": ("accuracy, %", 100, 2),
    "accuracy_std": ("std over seeds", 100, 2),
    "f1_macro": ("macro-F1, %", 100, 2),
    "loss": ("loss, nats", 1, 4),
    "calibration_error": ("calibration error, %", 100, 2),
    "brier": ("Brier score", 1, 4),
    "top2_accuracy": ("top-2 accuracy, %", 100, 2),
}


class Column(NamedTuple):
    """A column of a table of runs: its heading, and what is shown and sorted by per run."""

    heading: str
    cells: list[tuple[str, float | str]]


def render(report: Report) -> str:
    """Return the page; the same results give the same text."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False, "separators": (",", ":")}
    environment.filters |= {"code": code, "number": scales.number, "thousands": "{:,.0f}".format}
    environment.tests["missing"] = is_missing
    suites = {
        name: suite if isinstance(suite, Missing) else shown(suite, report) for name, suite in report.suites.items()
    }
    text = environment.get_template("page.html").render(
        report=report,
        suites=suites,
        images=report.images if isinstance(report.images, Missing) else shown_images(report.images),
        studies=report.studies if isinstance(report.studies, Missing) else shown_studies(report.studies),
        search=report.search if isinstance(report.search, Missing) else shown_search(report.search),
        rules=RULES,
        numbered_classes=NUMBERED_CLASSES,
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
        data=script_data(suites),
    )
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


def is_missing(part: object) -> bool:
    """Return whether a part of the page has no results."""
    return isinstance(part, Missing)


def code(text: str) -> Markup:
    """Return a text as HTML in which words between backticks are code."""
    parts = str(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def script_data(suites: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page's script needs: the values of the lines and the confusion matrices."""
    ready = {name: suite for name, suite in suites.items() if not isinstance(suite, Missing)}
    lines = {f"{name}-curves": suite["curves"] for name, suite in ready.items()}
    lines |= {f"{name}-logs": suite["logs"] for name, suite in ready.items()}
    return {
        "charts": {
            key: {
                panel.key if key.endswith("-curves") else panel.title: {
                    "digits": panel.digits,
                    "low": panel.x.low,
                    "high": panel.x.high,
                    "values": panel.values,
                }
                for panel in panels
            }
            for key, panels in lines.items()
        },
        "confusion": {
            name: {
                "classes": suite["classes"],
                "runs": {run.name: run.confusion.to_numpy().tolist() for run in suite["suite"].runs},
            }
            for name, suite in ready.items()
        },
    }


# A suite


def shown(suite: Suite, report: Report) -> dict[str, Any]:
    """Return what the templates show of a suite."""
    runs, names = suite.runs, [run.name for run in suite.runs]
    look = charts.looks(names)
    errors = dict(zip(suite.table["run"], suite.table["calibration_error"], strict=True))
    scores = {run.name: run.metrics["accuracy"]["values"] for run in runs}
    config = {run.name: run.config for run in runs}
    return {
        "suite": suite,
        "names": names,
        "look": look,
        "caption": comparison.caption(suite.table),
        "note": comparison.interval_note(suite.table),
        "effects": shown_effects(suite.effects),
        "changes": {
            run: configuration.changes(config[run], config[against])
            for run, against in suite.against.items()
            if against
        },
        "pairs": None if suite.pairs is None else charts.pairs(suite.pairs, names, LEVEL),
        "seeds": [] if suite.seeds is None else needed_seeds(suite.seeds),
        "columns": columns(suite),
        "accuracies": charts.accuracies(suite.table, scores),
        "curves": charts.curves(suite.curves, names),
        "logs": charts.logs(suite.logs, names),
        "classes": list(runs[0].confusion.columns),
        "matrix": matrix(runs[0].confusion),
        "f1": charts.scores_by_class({run.name: run.classes for run in runs}),
        "reliability": [
            charts.reliability(run.name, look[run.name], run.reliability, errors[run.name]) for run in runs
        ],
        "checks": list(dict.fromkeys(check for run in runs for check in (run.check or {}).get("checks", {}))),
        "values": {run.name: configuration.own_values(run.config, run.inherited) for run in runs},
        "facts": {run.name: facts(run) for run in runs},
        "galleries": galleries(suite, report.images),
    }


def shown_effects(effects: DataFrame | None) -> dict[str, Any] | None:
    """Return the forest plot of comparisons and how often each answer was given; None if there are none."""
    if effects is None:
        return None
    plot = charts.forest(effects)
    given = Counter(effects["verdict"])
    ordered = sorted(given.items(), key=lambda item: ORDER.index(item[0]))
    return {"forest": plot, "counts": dict(ordered), "answers": list(effects["answer"])}


def needed_seeds(seeds: DataFrame) -> list[tuple[str, str, str, str]]:
    """Return a row per comparison: both runs, the seeds per run that would show the margin, and their minutes."""
    return [
        (row.run, row.against, "–" if math.isnan(row.seeds) else f"{row.seeds:.0f}", scales.number(row.minutes, 0))
        for row in seeds.itertuples()
    ]


def columns(suite: Suite) -> list[Column]:
    """Return the columns of the table of runs."""
    table = suite.table
    found = [Column("seeds", [_cell(value, 0) for value in table["replicas"]])]
    for name, (heading, factor, digits) in MEASURES.items():
        found.append(Column(heading, [_cell(value * factor, digits) for value in table[name]]))
        if name == "accuracy":
            ends = zip(100 * table["accuracy_low"], 100 * table["accuracy_high"], strict=True)
            found.append(Column("95 % interval", [(f"{low:.2f} to {high:.2f}", low) for low, high in ends]))
    found.append(Column("parameters", [(f"{value:,.0f}", value) for value in table["parameters"]]))
    return [*found, Column("minutes", [_cell(run.timing.minutes, 1) for run in suite.runs])]


def _cell(value: float, digits: int) -> tuple[str, float | str]:
    return scales.number(value, digits), "" if math.isnan(value) else value


def matrix(confusion: DataFrame) -> list[list[tuple[int, float]]]:
    """Return a confusion matrix as images and fractions of the actual class."""
    totals = confusion.sum(axis=1).clip(lower=1)
    return [
        [(int(count), round(count / total, 4)) for count in row]
        for row, total in zip(confusion.to_numpy(), totals, strict=True)
    ]


def facts(run: Run) -> dict[str, str]:
    """Return how a run was trained, in words."""
    training, timing = run.metrics["training"], run.timing
    together = f" for {timing.replicas} seeds, {timing.workers} at a time" if timing.replicas > 1 else ""
    return {
        "code fingerprint": str(run.config["code"]),
        "torch": str(training["torch"]),
        "device": str(training["trained_on"]),
        "precision": str(training["precision"]),
        "parameters": f"{run.metrics['model']['parameters']:,}",
        "training": f"{timing.minutes:.1f} minutes{together}",
    }


def galleries(suite: Suite, images: Images | Missing) -> dict[str, Any] | Missing:
    """Return the surest mistakes of each run, and the pairs of classes that the suite confuses most, with images."""
    if isinstance(images, Missing):
        return images
    if any(run.metrics["test_images"] != len(images.test.labels) for run in suite.runs):
        return Missing(f"The results are of other images: run `dvc repro compare@{suite.name}`.")
    uri = partial(_uri, images.test.images)
    return {
        "pairs": [(pair, [(image, votes, uri(image)) for image, votes in pair.images]) for pair in suite.confused],
        "mistakes": {run.name: [(mistake, uri(mistake.image)) for mistake in run.mistakes] for run in suite.runs},
    }


def _uri(images: Any, index: int) -> str:
    return gallery.image_uri(images[index])


# The other parts


def shown_images(images: Images) -> dict[str, Any]:
    """Return what the templates show of the data set."""
    train, test = images.train, images.test
    counts = {
        name: [int((split.labels == i).sum()) for i in range(len(train.classes))]
        for name, split in (("training", train), ("test", test))
    }
    first = {
        name: [int(i) for i in (train.labels == number).nonzero()[0][:SAMPLES]]
        for number, name in enumerate(train.classes[:SAMPLED_CLASSES])
    }
    channels, height, width = train.shape
    return {
        "source": configuration.flat(
            images.source if images.source["source"] == "folder" else {"source": images.source["source"]}
        ),
        "shape": f"{width}×{height} pixels, {channels} channel{'s' * (channels > 1)}",
        "counts": counts,
        "classes": train.classes,
        "mean": train.mean,
        "std": train.std,
        "samples": {name: [(i, _uri(train.images, i)) for i in indices] for name, indices in first.items()},
        "files": {"data/raw": listed(images.raw), "data/normalized": listed(images.normalized)},
        "numbers": {"data/raw": len(images.raw), "data/normalized": len(images.normalized)},
    }


def listed(files: Iterable[Any]) -> list[Any]:
    """Return the files that are listed."""
    return list(files)[:LISTED_FILES]


def shown_studies(studies: Mapping[str, Study | Missing]) -> dict[str, Any]:
    """Return what the templates show of each study."""
    return {name: study if isinstance(study, Missing) else shown_study(study) for name, study in studies.items()}


def shown_study(study: Study) -> dict[str, Any]:
    """Return what the templates show of a study."""
    return {
        "table": study.table,
        "caption": comparison.caption(study.table),
        "note": comparison.interval_note(study.table),
        "effects": study.effects if isinstance(study.effects, Missing) else shown_effects(study.effects),
        "accuracies": charts.accuracies(study.table),
        "pictures": {name.replace("_", " "): gallery.picture_uri(png) for name, png in study.pictures.items()},
    }


def shown_search(search: Search) -> dict[str, Any]:
    """Return what the templates show of the search."""
    trials = search.trials
    cells = {name: [(_rounded(value), value) for value in trials[name]] for name in trials.columns}
    return {
        "result": search.result,
        "best": search.best,
        "timing": search.timing,
        "trials": [Column(name.replace("_", " "), of_column) for name, of_column in cells.items()],
        "rows": len(trials),
        "pictures": {name.replace("_", " "): gallery.picture_uri(png) for name, png in search.pictures.items()},
    }


def _rounded(text: str) -> str:
    number = pd.to_numeric(text, errors="coerce")
    return text if math.isnan(number) else f"{number:.4g}"
