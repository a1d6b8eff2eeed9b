"""``trainlab compare`` on files of predictions."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands.console import Call, Called
from trainlab.evaluation import effects
from trainlab.evaluation.metrics import Predictions, evaluate
from trainlab.evaluation.statistics import seeds_needed

CLASSES = ("ant", "bee", "cat")
IMAGES = 300


def predictions(*accuracies: float, images: int = IMAGES, classes: tuple[str, ...] = CLASSES) -> Predictions:
    """Return predictions with these accuracies, one per seed; the wrong images differ between seeds."""
    labels = np.arange(images) % len(classes)
    scores = []
    for seed, accuracy in enumerate(accuracies):
        random = np.random.default_rng([seed, round(1000 * accuracy)])
        wrong = random.permutation(images) >= round(accuracy * images)
        scores.append(2 * np.eye(len(classes))[(labels + wrong) % len(classes)])
    return Predictions(np.array(scores), labels, classes)


RUNS = {
    "plain": predictions(0.60, 0.61, 0.62),
    "better": predictions(0.90, 0.91, 0.89),
    "same": predictions(0.62, 0.60, 0.61),
    "single": predictions(0.75),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with the predictions of :data:`RUNS`, which is the working directory."""
    for run, of_run in RUNS.items():
        of_run.save(tmp_path / f"predictions/tricks/{run}.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(project: Path, **against: str | None) -> None:
    """Write the configurations of the suite `tricks`, whose margin is 0.02."""
    suite = project / "configs/tricks"
    suite.mkdir(parents=True)
    (suite / "_suite.yaml").write_text(json.dumps({"margin": 0.02, "runs": against}))
    for run in against:
        (suite / f"{run}.yaml").write_text(f"run: {run}\n")


def compared(call: Call, *arguments: str) -> dict[str, Any]:
    shown = call("compare", *arguments, "--json")
    assert (shown.code, shown.err) == (0, "")
    content: dict[str, Any] = json.loads(shown.out)
    return content


def refused(call: Call, *arguments: str) -> str:
    """Return the message of a comparison that is refused on one line."""
    shown = call("compare", *arguments)
    assert (shown.code, shown.out, shown.err.count("\n")) == (1, "", 1)
    return shown.err.removeprefix("trainlab: ").removesuffix("\n")


def cells(line: str) -> list[str]:
    """Return the cells of a line of a Markdown table."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.usefixtures("project")
def test_the_answer_in_words_and_the_numbers_of_both_runs(call: Call) -> None:
    shown = call("compare", "better", "plain", "--margin", "0.1")
    effect = effects.compare("better", RUNS["better"], "plain", RUNS["plain"], 0.1)
    lines = shown.out.splitlines()
    assert lines[0] == f"{effect.sentence()}."
    assert lines[0].startswith("`better` helps: +29.0 points over `plain` (95 % interval +")
    rows = {re.split("  +", line.strip())[0]: re.split("  +", line.strip())[1:] for line in lines}
    assert rows["better"][:3] == ["3", "90.00", "1.00"]
    assert rows["plain"][:3] == ["3", "61.00", "1.00"]
    assert rows["difference"][0] == "+29.0"
    assert rows["95 % interval"][0] in lines[0]
    assert re.match(
        r"p < 0.0001 for this comparison alone\. \d+ seeds per run would show a difference of 10 points with 80 % power\.",
        lines[-1],
    )


@pytest.mark.usefixtures("project")
def test_json_has_the_numbers_of_the_library(call: Call) -> None:
    found = compared(call, "better", "plain", "--margin", "0.1")
    a, b = RUNS["better"], RUNS["plain"]
    effect = effects.compare("better", a, "plain", b, 0.1)
    metrics = evaluate(a.scores, a.labels, a.classes)
    assert found["answer"] == f"{effect.sentence()}."
    assert found["verdict"] == "helps"
    assert found["accuracy"] == {
        "effect": effect.difference.effect,
        "low": effect.difference.low,
        "high": effect.difference.high,
        "p_value": effect.difference.p_value,
        "p_holm": None,
        "df": effect.difference.df,
    }
    assert found["f1_macro"] == dict(zip(("effect", "low", "high"), effect.f1, strict=True))
    assert found["seeds_needed"] == seeds_needed(effects.correct(a), effects.correct(b), 0.1)
    assert found["images"] == IMAGES
    assert found["run"] == {
        "name": "better",
        "seeds": 3,
        "accuracy": pytest.approx(0.9),
        "accuracy_std": pytest.approx(0.01),
        "f1_macro": metrics.f1_macro.mean(),
        "loss": metrics.loss.mean(),
        "calibration_error": metrics.calibration_error.mean(),
    }
    assert found["against"]["name"] == "plain"


def test_markdown_is_a_table_for_github(project: Path, call: Call) -> None:
    (project / "a|b").mkdir()
    RUNS["better"].save(project / "a|b/c.safetensors")
    shown = call("compare", "a|b/c.safetensors", "plain", "--markdown")
    sentence, table, note = shown.out.strip().split("\n\n")
    header, rule, *rows = map(cells, table.splitlines())
    assert sentence.startswith("`a|b/c.safetensors` helps: ")
    assert header == ["", "seeds", "accuracy, %", "std", "macro-F1, %", "loss", "ECE, %"]
    assert rule == ["---", *["--:"] * 6]
    assert [row[0] for row in rows] == ["a|b/c.safetensors", "plain", "difference", "95 % interval"]
    assert {len(row) for row in rows} == {7}
    assert rows[0][1:4] == ["3", "90.00", "1.00"]
    assert rows[2][2] == "+29.0"
    assert note.startswith("p < 0.0001 for this comparison alone. ")


@pytest.mark.usefixtures("project")
def test_one_seed_shows_no_spread(call: Call) -> None:
    shown = call("compare", "single", "plain")
    [row] = [line for line in shown.out.splitlines() if line.strip().startswith("single")]
    assert row.split()[:4] == ["single", "1", "75.00", "-"]
    assert "One seed has no spread: train both runs with `replicas: 2` or more" in shown.out
    found = compared(call, "single", "plain")
    assert (found["run"]["accuracy_std"], found["seeds_needed"]) == (None, None)


@pytest.mark.usefixtures("project")
def test_infinite_degrees_of_freedom_are_null_in_json(project: Path, call: Call) -> None:
    predictions(0.5).save(project / "other.safetensors")
    assert compared(call, "single", "other.safetensors")["accuracy"]["df"] is None


@pytest.mark.usefixtures("project")
def test_no_number_of_seeds_may_be_enough(call: Call) -> None:
    shown = call("compare", "same", "plain", "--margin", "0.0001")
    assert "With these test images, no number of seeds would show a difference of 0.01 points" in shown.out
    assert compared(call, "same", "plain", "--margin", "0.0001")["seeds_needed"] is None


def test_one_argument_is_compared_with_the_run_that_the_parameters_name(project: Path, call: Call) -> None:
    configure(project, plain=None, better="plain", same="better")
    assert compared(call, "same")["against"]["name"] == "better"
    assert refused(call, "plain") == ("params.yaml compares plain with no other run: `trainlab compare plain RUN` does")


def test_one_file_is_compared_with_nothing(project: Path, call: Call) -> None:
    configure(project, plain=None, better="plain")
    assert refused(call, "predictions/tricks/better.safetensors") == (
        "predictions/tricks/better.safetensors: name what to compare it with; only runs of params.yaml have `against`"
    )


def test_the_margin_is_that_of_the_suite_unless_it_is_given(project: Path, call: Call) -> None:
    assert compared(call, "same", "plain")["margin"] == 0.01
    configure(project, plain=None, better="plain", same="plain")
    assert compared(call, "same", "plain")["margin"] == 0.02
    file = "predictions/tricks/same.safetensors"
    assert compared(call, file, "plain")["margin"] == 0.01
    given = compared(call, "same", "plain", "--margin", "0.3")
    assert (given["margin"], given["verdict"]) == (0.3, "no difference that matters")
    assert compared(call, "same", "plain", "--margin", "0.001")["verdict"] == "no difference shown"


@pytest.mark.parametrize("margin", ["0", "1", "-0.01", "nan"])
def test_a_margin_that_is_no_fraction_is_a_wrong_argument(call: Call, margin: str) -> None:
    shown = call("compare", "better", "plain", "--margin", margin)
    assert shown == Called(
        "",
        f"trainlab: Invalid value for --margin: {float(margin)} is not between 0 and 1, such as 0.01 for one percentage "
        f"point. Try --help.\n",
        2,
    )


def test_two_formats_are_a_wrong_argument(call: Call) -> None:
    shown = call("compare", "better", "plain", "--json", "--markdown")
    assert (shown.code, shown.err) == (
        2,
        "trainlab: Invalid value for --markdown, --json: choose one of them. Try --help.\n",
    )


def test_identical_predictions_are_no_comparison_of_seeds(project: Path, call: Call) -> None:
    RUNS["plain"].save(project / "copy.safetensors")
    shown = call("compare", "copy.safetensors", "plain")
    assert shown.code == 0
    assert shown.out.startswith("`copy.safetensors` and `plain` have identical predictions.\n")
    assert "95 % interval" not in shown.out
    found = compared(call, "copy.safetensors", "plain")
    assert (found["verdict"], found["accuracy"]) == ("identical predictions", None)
    assert call("compare", "copy.safetensors", "plain", "--markdown").out.rstrip().endswith(" |")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "again", ["plain", "predictions/tricks/plain.safetensors", "./predictions/tricks/plain.safetensors"]
)
def test_the_same_file_twice_is_refused(call: Call, again: str) -> None:
    assert (
        refused(call, again, "plain") == f"{again} and plain are the same file of predictions: name two different ones"
    )


@pytest.mark.parametrize("other", [predictions(0.5, images=30), predictions(0.5, classes=("x", "y", "z"))])
def test_predictions_for_other_images_or_classes_are_refused(project: Path, call: Call, other: Predictions) -> None:
    other.save(project / "other.safetensors")
    assert refused(call, "plain", "other.safetensors").startswith(
        "plain and other.safetensors were scored on different test images or classes: "
    )


@pytest.mark.usefixtures("project")
def test_an_unknown_run_is_reported_with_a_similar_one(call: Call) -> None:
    assert refused(call, "beter", "plain") == (
        "no run 'beter' in configs/ and predictions/ (did you mean better?); `dvc repro resolve` writes the runs of "
        "params.yaml, `dvc pull` gets committed results"
    )


def test_a_directory_without_results_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(call, "better", "plain").startswith("no run 'better' in this directory; ")


def test_missing_predictions_of_a_run_are_pulled_or_reproduced(project: Path, call: Call) -> None:
    configure(project, plain=None, later="plain")
    path = "predictions/tricks/later.safetensors"
    assert refused(call, "later", "plain") == (
        f"{path} is missing: run `dvc pull {path}` if they were pushed, else `dvc repro {path}`"
    )
    assert refused(call, path, "plain") == f"{path} is missing: name an existing file, or a run of params.yaml"


def test_a_damaged_file_is_reported(project: Path, call: Call) -> None:
    (project / "predictions/tricks/plain.safetensors").write_bytes(b"damaged")
    assert refused(call, "better", "plain").startswith("predictions/tricks/plain.safetensors is damaged (")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["Plain", "*", "predictions/tricks/plain", "a.csv"])
def test_an_argument_of_another_form_is_reported(call: Call, name: str) -> None:
    assert refused(call, name, "plain") == f"{name} is neither the name of a run nor a file that ends in .safetensors"


@pytest.mark.usefixtures("project")
def test_a_colon_without_a_revision_is_reported(call: Call) -> None:
    assert refused(call, ":plain", "better") == ":plain: name a Git revision before the colon, such as HEAD:plain"


def test_a_file_may_have_a_colon_in_its_name(project: Path, call: Call) -> None:
    RUNS["better"].save(project / "10:30.safetensors")
    assert compared(call, "10:30.safetensors", "plain")["run"]["accuracy"] == pytest.approx(0.9)


def test_the_configurations_decide_between_predictions_of_two_suites(project: Path, call: Call) -> None:
    RUNS["better"].save(project / "predictions/older/plain.safetensors")
    assert refused(call, "plain", "same") == (
        "the suites older and tricks have a run plain: name its file, such as predictions/older/plain.safetensors"
    )
    configure(project, plain=None, same="plain")
    (project / "configs/checks").mkdir()
    (project / "configs/checks/plain.yaml").write_text("")
    assert compared(call, "plain", "same")["run"]["accuracy"] == pytest.approx(0.61)
