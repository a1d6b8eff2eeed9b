"""The page as text: its numbers are those of the results, and no name becomes markup."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from report import example
from report.example import AGAINST, CLASSES, LONG, RUNS
from trainlab.report import page
from trainlab.report.content import Missing, Report, Suite


class Parsed(HTMLParser):
    """The page's tables that can be sorted, its list items, all of its text, and the names of its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[tuple[str, str | None]]]] = []
        self.items: list[str] = []
        self.elements: list[str] = []
        self.text = ""
        self._cell: str | None = None
        self._value: str | None = None
        self._in_item = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell, self._value = "", values.get("data-value")
        elif tag == "li":
            self.items.append("")
            self._in_item = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.tables[-1][-1].append((" ".join((self._cell or "").split()), self._value))
            self._cell = None
        elif tag == "li":
            self._in_item = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell is not None:
            self._cell += data
        if self._in_item:
            self.items[-1] += data

    def table(self, *first: str) -> list[list[tuple[str, str | None]]]:
        """Return the rows of the table whose first heading cells are these."""
        [found] = [rows for rows in self.tables if rows and tuple(text for text, _ in rows[0][: len(first)]) == first]
        return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return example.report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return page.render(report)


@pytest.fixture(scope="module")
def parsed(text: str) -> Parsed:
    return Parsed(text)


def of_suite(report: Report) -> Suite:
    suite = report.suites["tricks"]
    assert isinstance(suite, Suite)
    return suite


def payload(text: str) -> Any:
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(data)


def test_the_table_of_runs_has_the_numbers_of_the_results(report: Report, parsed: Parsed) -> None:
    heading, *rows = parsed.table("run", "seeds", "accuracy, %")
    names = [name for name, _ in heading]
    assert [row[0][0] for row in rows] == list(RUNS)
    table = of_suite(report).table
    for column, factor, title in (
        ("accuracy", 100, "accuracy, %"),
        ("accuracy_low", 100, "95 % interval"),
        ("f1_macro", 100, "macro-F1, %"),
        ("loss", 1, "loss, nats"),
        ("calibration_error", 100, "calibration error, %"),
        ("brier", 1, "Brier score"),
        ("parameters", 1, "parameters"),
    ):
        shown = [float(row[names.index(title)][1] or "nan") for row in rows]
        assert shown == pytest.approx(list(table[column] * factor)), column
    assert [row[names.index("accuracy, %")][0] for row in rows] == [f"{100 * value:.2f}" for value in table["accuracy"]]
    assert [row[names.index("minutes")][0] for row in rows] == ["1.5"] * len(RUNS)


def test_the_answers_are_those_of_the_comparisons(report: Report, parsed: Parsed) -> None:
    effects = of_suite(report).effects
    assert effects is not None
    answers = [answer.replace("`", "") for answer in effects["answer"]]
    assert [item.strip() for item in parsed.items if item.strip() in answers] == 2 * answers  # of the study, too
    rows = [row for row in parsed.tables[0] if row[0][0].startswith(("better", LONG))]
    for (name, *_), effect in zip(rows, effects.itertuples(), strict=True):
        assert name[0].startswith(effect.run)
    shown = [[text for text, _ in row[2:]] for row in rows]
    assert shown == [
        [
            f"{signed(effect.effect)} {signed(effect.low)} to {signed(effect.high)}",
            "p < 0.001" if effect.p_holm < 0.001 else f"p {effect.p_holm:.3f}",
            effect.verdict,
        ]
        for effect in effects.itertuples()
    ]


def signed(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "−")


def test_what_differs_from_the_other_run_stands_beside_the_answer(parsed: Parsed) -> None:
    [better] = [row[0][0] for row in parsed.tables[0] if row[0][0].startswith("better")]
    assert better == "better lr 0.001 → 0.002model.dropout_conv 0.2"


def test_a_name_is_never_markup(text: str, parsed: Parsed) -> None:
    assert text.count("<script") == text.count("</script") == 2  # the data and the code of the page itself
    assert "alert(1)" in text
    assert "<small>" not in text
    assert "<b>and</b>" not in text
    assert CLASSES[1] in parsed.text
    data = payload(text)
    assert data["confusion"]["tricks"]["classes"] == list(CLASSES)


def test_the_script_gets_the_curves_and_the_matrices(report: Report, text: str) -> None:
    data, suite = payload(text), of_suite(report)
    matrices = data["confusion"]["tricks"]["runs"]
    assert matrices == {run.name: run.confusion.to_numpy().tolist() for run in suite.runs}
    means = suite.curves.groupby(["run", "epoch"])["test_accuracy"].mean()
    values = data["charts"]["tricks-curves"]["test_accuracy"]["values"]
    assert {run: {int(epoch): value for epoch, value in of_run.items()} for run, of_run in values.items()} == {
        run: {epoch: pytest.approx(100 * means[run, epoch]) for epoch in (1, 2, 3)} for run in RUNS
    }
    assert data["charts"]["tricks-logs"]["reward"]["values"] == {"better": {"1": 0.25, "2": 0.5, "3": 0.75}}


def test_configurations_mark_what_differs_from_the_suite(parsed: Parsed) -> None:
    tables = [rows for rows in parsed.tables if rows and [text for text, _ in rows[0]] == ["key", "value"]]
    assert len(tables) == len(RUNS)
    marked = [[row[0][0] for row in rows if "●" in row[1][0]] for rows in tables]
    assert marked == [[], [], ["lr", "model.dropout_conv"]]
    assert [text for text, _ in tables[2][4]] == ["lr", "0.002 ●"]


def test_the_same_results_give_the_same_bytes(report: Report, text: str) -> None:
    assert page.render(report) == text


def test_nothing_is_loaded_from_elsewhere(text: str) -> None:
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert "url(" not in text
    assert "@import" not in text


def test_parts_without_results_name_their_command() -> None:
    words = {part: f"No {part}: `dvc repro {part}` makes it." for part in ("tricks", "images", "studies", "search")}
    missing = {part: Missing(sentence) for part, sentence in words.items()}
    suites = {"tricks": missing["tricks"]}
    text = page.render(Report(suites, missing["images"], missing["studies"], missing["search"]))
    for part in words:
        assert f"No {part}: <code>dvc repro {part}</code> makes it." in text


def test_results_of_other_images_have_no_gallery(report: Report) -> None:
    assert not isinstance(report.images, Missing)
    fewer = replace(report.images.test, labels=report.images.test.labels[:-1], images=report.images.test.images[:-1])
    text = page.render(replace(report, images=replace(report.images, test=fewer)))
    assert "The results are of other images: run <code>dvc repro compare@tricks</code>." in text


def test_a_run_that_was_not_checked(report: Report) -> None:
    suite = of_suite(report)
    bare = replace(suite, runs=[replace(run, check=None, layers=None) for run in suite.runs])
    assert "<code>dvc repro check</code>" in page.render(replace(report, suites={"tricks": bare}))


def test_a_suite_of_one_run_has_no_comparisons(report: Report) -> None:
    suite = of_suite(report)
    alone = replace(
        suite,
        against={"plain": None},
        table=suite.table[:1],
        effects=None,
        pairs=None,
        seeds=None,
        curves=suite.curves[suite.curves["run"] == "plain"],
        logs=suite.logs[suite.logs["run"] == "plain"],
        runs=suite.runs[:1],
    )
    assert "None of its runs is compared with another one." in page.render(replace(report, suites={"tricks": alone}))


def test_a_suite_whose_runs_are_not_compared_has_its_pairs(report: Report) -> None:
    suite = replace(of_suite(report), against=dict.fromkeys(AGAINST), effects=None, seeds=None)
    text = page.render(replace(report, suites={"tricks": suite}, studies=Missing("none")))
    assert "None of its runs is compared with another one." in text
    assert "All pairs of runs" in text
    assert "How many seeds" not in text


def test_a_run_that_diverged_is_drawn_up_to_there(report: Report) -> None:
    suite = of_suite(report)
    curves = suite.curves.copy()
    curves.loc[(curves["run"] == "better") & (curves["epoch"] > 1), "test_loss"] = math.nan
    curves.loc[curves["run"] == LONG, "test_loss"] = math.inf
    data = payload(page.render(replace(report, suites={"tricks": replace(suite, curves=curves)})))
    values = data["charts"]["tricks-curves"]["test_loss"]["values"]
    assert {run: list(of_run) for run, of_run in values.items()} == {"plain": ["1", "2", "3"], "better": ["1"]}


def test_a_study_without_comparisons_says_why(report: Report) -> None:
    assert isinstance(report.studies, dict)
    studies = {"alpha": replace(report.studies["alpha"], effects=Missing("Run `this`."))}
    text = page.render(replace(report, studies=studies))
    assert "Run <code>this</code>." in text
    assert "3 runs, not compared" in text


def test_runs_with_one_seed_are_called_models(report: Report) -> None:
    suite = of_suite(report)
    assert suite.effects is not None
    of_models = {"helps": "better model", "hurts": "worse model"}
    single = suite.effects.assign(seeds=1, seeds_against=1).replace({"verdict": of_models})
    text = page.render(replace(report, suites={"tricks": replace(suite, effects=single)}, studies=Missing("none")))
    assert "</b> better model</span>" in text  # their number
    assert "</b> helps</span>" not in text
    assert "the answers are about these models only" in text


def test_every_run_is_compared_with_the_run_of_its_group(parsed: Parsed) -> None:
    groups = [row[0][0] for row in parsed.tables[0] if row[0][0].startswith("against ")]
    assert groups == [f"against {against}" for against in dict.fromkeys(filter(None, AGAINST.values()))]
