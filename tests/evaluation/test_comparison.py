import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame

from trainlab.errors import UserError
from trainlab.evaluation import comparison
from trainlab.evaluation.statistics import wilson

RUNS = ["plain", "better"]
TRAINING = {
    "epochs": 15,
    "subset": None,
    "validation": None,
    "precision": "float32",
    "trained_on": "CPU (AVX2), 2 threads",
    "threads": 2,
    "torch": "2.15.0",
}
SUPPORT = {"NA": 50, "01": 50}


def metrics_of(values: list[float], support: Any = SUPPORT, **training: Any) -> dict[str, Any]:
    """Metrics of a run with these accuracies; the other scores follow from them."""

    def summary(factor: float) -> dict[str, Any]:
        each = [factor * value for value in values]
        return {
            "mean": float(np.mean(each)),
            "std": float(np.std(each, ddof=1)) if len(each) > 1 else None,
            "values": each,
        }

    factors = {"accuracy": 1.0, "f1_micro": 1.0, "f1_macro": 0.9, "f1_weighted": 0.8, "loss": 2.0}
    factors |= {"calibration_error": 0.1, "brier": 0.5, "top2_accuracy": 1.1}
    scores = {name: summary(factor) for name, factor in factors.items()}
    scores["accuracy"] |= dict(zip(("low", "high"), wilson(float(np.mean(values)), sum(support.values())), strict=True))
    return {
        "replicas": len(values),
        "test_images": sum(support.values()),
        "support": support,
        **scores,
        "training": {**TRAINING, **training},
        "model": {"parameters": 1234, "weights": 1000, "near_zero": 0.25},
    }


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Files of two runs of the suite `tricks`, scored on 100 images of two classes."""
    for directory in ("configs", "metrics", "history", "confusion"):
        (tmp_path / directory / "tricks").mkdir(parents=True)
    (tmp_path / "configs/tricks/_suite.yaml").write_text("margin: 0.02\nruns: {plain: , better: plain}\n")
    for run, values, log in (("plain", [0.5], "reward"), ("better", [0.6, 0.8], "entropy")):
        own = {"subset": 5000} if run == "better" else {}
        (tmp_path / f"metrics/tricks/{run}.json").write_text(json.dumps(metrics_of(values, **own)))
        history = [f"replica,epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,{log}"]
        history += [f"{r},{e},0.1,{2 / e},0.5,1.5,0.6,{r + e}" for r in range(len(values)) for e in (1, 2, 3)]
        (tmp_path / f"history/tricks/{run}.csv").write_text("\n".join(history) + "\n")
    (tmp_path / "confusion/tricks/plain.csv").write_text(
        "actual,predicted,count\nNA,NA,40\nNA,01,10\n01,NA,20\n01,01,30\n"
    )
    return tmp_path


def histories(suite: Path) -> dict[str, DataFrame]:
    return comparison.read_histories(suite / "history/tricks", RUNS)


def test_runs_keep_the_order_of_params(suite: Path) -> None:
    found = comparison.read_suite(suite / "configs/tricks")
    assert found.runs == RUNS
    assert found == ({"plain": None, "better": "plain"}, 0.02)


@pytest.mark.parametrize(
    "text",
    [
        *("", "plain: 1\n", "[1, 2]\n", "{\n", "text\n", "margin: 0.01\nruns: {}\n", "runs: {plain: }\n"),
        *("margin: much\nruns: {plain: }\n", "margin: 0.01\nruns: {plain: other}\n"),
    ],
)
def test_a_damaged_list_of_runs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "_suite.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as failure:
        comparison.read_suite(tmp_path)
    assert str(failure.value) == (
        f"{path} is damaged (it is not a list of runs with a margin): delete it, then run `dvc repro resolve`"
    )


def test_an_unknown_suite(tmp_path: Path) -> None:
    with pytest.raises(UserError) as failure:
        comparison.read_suite(tmp_path / "trikcs")
    assert str(failure.value) == (
        f"{tmp_path / 'trikcs' / '_suite.yaml'} is missing: is there a suite trikcs in params.yaml? Then run "
        "`dvc repro resolve`"
    )


def test_leftovers_are_files_of_runs_that_are_gone(tmp_path: Path) -> None:
    for name in ("plain.json", "plain-classes.csv", "old.json", "old-classes.csv", ".gitignore"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "plainer.csv").touch()
    found = comparison.leftovers(iter(RUNS), [tmp_path, tmp_path / "not_there", tmp_path / "more"])
    assert found == [
        tmp_path / "more",
        tmp_path / "old-classes.csv",
        tmp_path / "old.json",
        tmp_path / "more/plainer.csv",
    ]


def test_table(suite: Path) -> None:
    table = comparison.table(comparison.read_metrics(suite / "metrics/tricks", RUNS))
    low, high = wilson(0.7, 100)
    assert table.to_dict("records")[1] == {
        "run": "better",
        "replicas": 2,
        "accuracy": pytest.approx(0.7),
        "accuracy_std": pytest.approx(0.02**0.5),
        "accuracy_low": pytest.approx(low),
        "accuracy_high": pytest.approx(high),
        "f1_micro": pytest.approx(0.7),
        "f1_macro": pytest.approx(0.63),
        "f1_weighted": pytest.approx(0.56),
        "loss": pytest.approx(1.4),
        "calibration_error": pytest.approx(0.07),
        "brier": pytest.approx(0.35),
        "top2_accuracy": pytest.approx(0.77),
        "test_images": 100,
        "parameters": 1234,
        "epochs": 15,
        "subset": 5000,
        "validation": pytest.approx(np.nan, nan_ok=True),
        "precision": "float32",
        "trained_on": "CPU (AVX2), 2 threads",
        "torch": "2.15.0",
    }
    assert table["run"].tolist() == RUNS
    assert np.isnan(table["accuracy_std"][0])
    assert table["subset"].isna().tolist() == [True, False]
    assert comparison.intervals(table) == {"plain": wilson(0.5, 100), "better": pytest.approx((low, high))}


def test_metrics_are_read_in_the_order_of_the_runs(suite: Path) -> None:
    metrics = comparison.read_metrics(suite / "metrics/tricks", iter(RUNS[::-1]))
    assert list(metrics) == RUNS[::-1]
    assert metrics["better"] == metrics_of([0.6, 0.8], subset=5000)


def test_a_table_without_replicas_and_subsets_has_numbers() -> None:
    table = comparison.table({"plain": metrics_of([0.5])})
    assert [str(table[column].dtype) for column in ("accuracy_std", "subset", "validation")] == [
        "float64",
        "Int64",
        "float64",
    ]


def test_runs_scored_on_different_images_are_not_compared(suite: Path) -> None:
    path = suite / "metrics/tricks/better.json"
    path.write_text(json.dumps(metrics_of([0.6], support={"NA": 51, "01": 49})))
    with pytest.raises(UserError) as failure:
        comparison.read_metrics(suite / "metrics/tricks", RUNS)
    assert str(failure.value) == (
        f"the runs plain and better were scored on different test images (see `support` in {path}): run "
        "`dvc repro compare@tricks`"
    )


@pytest.mark.parametrize("key", ["replicas", "test_images", "support", "accuracy", "loss", "training", "model"])
def test_metrics_without_a_key_are_damaged(suite: Path, key: str) -> None:
    path = suite / "metrics/tricks/better.json"
    content = metrics_of([0.5])
    content.pop(key)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as failure:
        comparison.read_metrics(suite / "metrics/tricks", RUNS)
    assert str(failure.value) == (
        f"{path} is damaged (it has no '{key}'): delete it, then run `dvc repro compare@tricks`"
    )


@pytest.mark.parametrize("key", ["epochs", "subset", "validation", "precision", "trained_on", "torch"])
def test_metrics_must_state_how_a_run_was_trained(suite: Path, key: str) -> None:
    content = metrics_of([0.5])
    content["training"].pop(key)
    (suite / "metrics/tricks/better.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"better\.json is damaged \(it has no '{key}'\)"):
        comparison.read_metrics(suite / "metrics/tricks", RUNS)


@pytest.mark.parametrize("content", [None, "", "{", "epoch\n1\n", "replica,epoch,train_loss\n1,1,1\n"])
@pytest.mark.parametrize("directory", ["metrics", "history", "confusion"])
def test_a_missing_or_damaged_file_is_named_with_the_command(suite: Path, directory: str, content: str | None) -> None:
    def read() -> None:
        comparison.read_metrics(suite / "metrics/tricks", RUNS)
        comparison.read_histories(suite / "history/tricks", RUNS)
        comparison.read_confusion(suite / "confusion/tricks/plain.csv")

    read()
    path = suite / directory / "tricks" / ("plain.json" if directory == "metrics" else "plain.csv")
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError) as failure:
        read()
    what = "missing: run" if content is None else "damaged ("
    assert str(failure.value).startswith(f"{path} is {what}")
    assert str(failure.value).endswith("run `dvc repro compare@tricks`")
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("column", [*comparison.CURVES[1:], "lr"])
def test_a_history_without_a_column_is_damaged(suite: Path, column: str) -> None:
    path = suite / "history/tricks/plain.csv"
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(UserError, match=rf"plain\.csv is damaged \(it has no column {column}\)"):
        histories(suite)


def test_curves_have_the_columns_of_all_runs(suite: Path) -> None:
    curves = comparison.curves(histories(suite))
    assert list(curves.columns) == comparison.CURVES
    assert curves["run"].tolist() == ["plain"] * 3 + ["better"] * 6
    assert curves["epoch"].tolist() == [1, 2, 3] * 3
    assert curves["train_loss"].tolist() == pytest.approx([2, 1, 2 / 3] * 3)
    assert curves.index.tolist() == list(range(9))


def test_logs_have_one_value_per_row(suite: Path) -> None:
    logs = comparison.logs(histories(suite))
    assert list(logs.columns) == comparison.LOGS
    assert list(dict.fromkeys(zip(logs["run"], logs["log"], strict=True))) == [
        ("plain", "lr"),
        ("plain", "reward"),
        ("better", "lr"),
        ("better", "entropy"),
    ]
    entropy = logs[logs["log"] == "entropy"]
    assert entropy[["replica", "epoch", "value"]].to_numpy().tolist() == [
        [r, e, r + e] for r in (0, 1) for e in (1, 2, 3)
    ]
    assert (logs.loc[logs["log"] == "lr", "value"] == 0.1).all()
    assert logs.index.tolist() == list(range(18))


def test_log_names_are_those_of_the_objective() -> None:
    loop = ["replica", "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "accuracy_gap"]
    more = ["validation_loss", "validation_accuracy", "gradient_norm.conv1", "update_ratio.head"]
    logged = ["reward", "entropy", "baseline", "baseline_loss", "teacher_agreement", "lrelu_share", "epochs"]
    assert comparison.log_names([*loop, *logged, *more]) == logged
    assert comparison.log_names([*loop, *more]) == []


def test_validation_accuracy_is_that_of_the_last_epoch(suite: Path) -> None:
    rows = histories(suite)
    assert comparison.validation_accuracies(rows) == {}
    rows["better"]["validation_accuracy"] = [0.1, 0.9, 0.5, 0.2, 0.1, 0.7]  # two replicas, three epochs
    assert comparison.validation_accuracies(rows) == {"better": pytest.approx(0.6)}


def test_a_confusion_matrix_keeps_the_order_and_the_names_of_the_classes(suite: Path) -> None:
    counts = comparison.read_confusion(suite / "confusion/tricks/plain.csv")
    assert counts.index.tolist() == counts.columns.tolist() == ["NA", "01"]
    assert counts.to_numpy().tolist() == [[40, 10], [20, 30]]


@pytest.mark.parametrize("rows", ["NA,NA,1\nNA,NA,2\n", "NA,NA,1\n01,01,2\n", "NA,NA,many\n"])
def test_a_confusion_matrix_that_is_not_square_is_damaged(suite: Path, rows: str) -> None:
    path = suite / "confusion/tricks/plain.csv"
    path.write_text(f"actual,predicted,count\n{rows}")
    with pytest.raises(UserError, match=r"plain\.csv is damaged .*run `dvc repro compare@tricks`"):
        comparison.read_confusion(path)


LAYER = {"mean": 0.5, "std": 1.5, "never_positive": 0.0, "gradient_mean": "nan", "gradient_std": "inf"}


def test_layers_are_read_in_the_order_of_the_forward_pass(tmp_path: Path) -> None:
    path = tmp_path / "plain.json"
    report = {"layer_images": 250, "layers": {"z": LAYER, "a": {**LAYER, "gradient_std": 0.25}}}
    path.write_text(json.dumps(report))
    layers, images = comparison.read_layers(path)
    assert images == 250
    assert list(layers.columns) == comparison.LAYERS
    assert layers["layer"].tolist() == ["z", "a"]
    assert layers["std"].tolist() == [1.5, 1.5]
    assert layers["gradient_std"].tolist() == [np.inf, 0.25]
    assert layers["gradient_mean"].isna().all()


@pytest.mark.parametrize("content", ["{", "{}", '{"layers": {"a": {"mean": 1}}, "layer_images": 250}', None])
def test_a_check_without_layers_is_named_with_the_command(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "plain.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"plain\.json is (missing|damaged).*run `dvc repro check@plain`"):
        comparison.read_layers(path)


def caption(**runs: dict[str, Any]) -> str:
    metrics = {run: metrics_of(**{"values": [0.5], **own}) for run, own in runs.items()}
    return comparison.caption(comparison.table(metrics))


def test_a_caption_states_images_replicas_epochs_precision_device_and_torch() -> None:
    assert caption(one={}, two={}) == (
        "100 test images; 1 replica per run; 15 epochs of all training images; float32; trained on CPU (AVX2), 2 threads; "
        "torch 2.15.0"
    )


@pytest.mark.parametrize(
    ("one", "two", "part"),
    [
        ({"values": [0.5, 0.6]}, {}, "; 1 to 2 replicas per run;"),
        ({"values": [0.5, 0.6]}, {"values": [0.5, 0.6]}, "; 2 replicas per run;"),
        ({"epochs": 1}, {"epochs": 1}, "; 1 epoch of all training images;"),
        ({"epochs": 2}, {"epochs": 2}, "; 2 epochs of all training images;"),
        ({"epochs": 10}, {}, "; 10 to 15 epochs of all training images;"),
        ({"epochs": 1}, {}, "; 1 to 15 epochs of all training images;"),
        ({"epochs": 1000}, {"epochs": 2000}, "; 1,000 to 2,000 epochs of all training images;"),
        ({"subset": 5000}, {"subset": 5000}, "; 15 epochs of 5,000 training images; float32"),
        ({"subset": 5000}, {"subset": 500}, "; 15 epochs of 500 to 5,000 training images; float32"),
        ({"subset": 5000}, {}, "; 15 epochs of all or 5,000 training images; float32"),
        ({"validation": 0.1}, {"validation": 0.1}, " training images; held out for validation: 10%; float32"),
        ({}, {"validation": 0.1}, " training images; held out for validation: none except two (10%); float32"),
        ({}, {"precision": "bfloat16"}, "; float32 except two (bfloat16);"),
        ({}, {"trained_on": "H200"}, "; trained on CPU (AVX2), 2 threads except two (H200);"),
        ({"torch": "2.11.0"}, {"torch": "2.15.0"}, "; torch 2.11.0 except two (2.15.0)"),
        ({"support": {"a": 10_000}}, {"support": {"a": 10_000}}, "10,000 test images; "),
        ({"views": "mirrored"}, {"views": "mirrored"}, "100 test images, mean of the views mirrored; 1 replica"),
        ({"views": "mirrored"}, {}, "100 test images, mean of the views mirrored except two (none); 1 replica"),
    ],
)
def test_captions_state_how_the_runs_were_trained(one: dict[str, Any], two: dict[str, Any], part: str) -> None:
    assert part in caption(one=one, two=two) + "\n"
    assert "; ;" not in caption(one=one, two=two)


def test_captions_name_the_runs_that_differ_from_most() -> None:
    versions = {"a": "2.11.0", "b": "2.15.0", "c": "2.15.0", "d": "2.11.0", "e": "2.15.0", "f": "2.14.0"}
    text = caption(**{run: {"torch": version} for run, version in versions.items()})
    assert text.endswith("; torch 2.15.0 except a, d (2.11.0) and f (2.14.0)")


def test_a_caption_of_some_rows_is_about_these_rows() -> None:
    table = comparison.table({"one": metrics_of([0.5]), "two": metrics_of([0.5], torch="2.11.0")})
    assert comparison.caption(table[1:]).endswith("; torch 2.11.0")
    table = comparison.table({"one": metrics_of([0.5], views="mirrored"), "two": metrics_of([0.5])})
    assert comparison.caption(table[1:]).startswith("100 test images; 1 replica per run;")


def test_the_accuracy_of_one_run_states_what_it_was_measured_on() -> None:
    assert comparison.accuracy_caption(metrics_of([0.5])) == "accuracy 50.00% of 100 images"
    images = {"a": 10_000}
    text = comparison.accuracy_caption(metrics_of([0.70074, 0.70075], images))
    assert text == "accuracy 70.07% of 10,000 images, 2 replicas"


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    comparison.show(comparison.table({"plain": metrics_of([0.5]), "better": metrics_of([0.6, 0.8])}), "a caption")
    return capsys.readouterr().out.splitlines()


def test_the_table_is_plain_text_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    header, plain, better, *notes = shown(capsys)
    assert header.split() == ["run", "accuracy", "95", "%", "interval", "std", "F1", "macro", "loss"]
    assert plain.split() == ["plain", "0.5000", "0.4038", "to", "0.5962", "-", "0.4500", "1.0000"]
    assert better.split() == ["better", "0.7000", "0.6042", "to", "0.7811", "0.1414", "0.6300", "1.4000"]
    assert notes == [
        "a caption.",
        "The 95 % interval covers other test images, not other seeds, of runs with one replica.",
    ]


def in_a_terminal(columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in shown(capsys)]


def test_the_table_has_borders_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_a_terminal(120, capsys, monkeypatch) == [
        "┏━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━┓",
        "┃ run    ┃ accuracy ┃    95 % interval ┃    std ┃ F1 macro ┃   loss ┃",
        "┡━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━┩",
        "│ plain  │   0.5000 │ 0.4038 to 0.5962 │      - │   0.4500 │ 1.0000 │",
        "│ better │   0.7000 │ 0.6042 to 0.7811 │ 0.1414 │   0.6300 │ 1.4000 │",
        "└────────┴──────────┴──────────────────┴────────┴──────────┴────────┘",
        "a caption.",
        "The 95 % interval covers other test images, not other seeds, of runs",
        "with one replica.",
    ]


def test_a_narrow_terminal_cuts_cells_and_keeps_one_line_per_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = in_a_terminal(50, capsys, monkeypatch)
    assert [line[:3] for line in lines[1:5]] == ["┃ r", "┡━━", "│ p", "│ b"]
    assert lines[5].startswith("└")


@pytest.mark.parametrize(
    ("replicas", "workers", "minutes"), [(1, 1, 10.0), (6, 1, 10 / 6), (6, 2, 10 / 3), (6, 4, 5.0), (6, 6, 10.0)]
)
def test_minutes_per_replica(tmp_path: Path, replicas: int, workers: int, minutes: float) -> None:
    path = tmp_path / "plain.json"
    path.write_text(json.dumps({"seconds": 600.0, "replicas": replicas, "workers": workers}))
    assert comparison.read_timing(path).minutes_per_replica == pytest.approx(minutes)
    with pytest.raises(UserError, match=r"other.json is missing: run `dvc repro train@other` or `distill@other`"):
        comparison.read_timing(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("replicas", "note"),
    [
        ([1, 1], "The 95 % interval covers other test images, not other seeds"),
        ([6, 6], "The 95 % interval covers other seeds and other test images"),
        ([6, 1], "The 95 % interval covers other test images, not other seeds, of runs with one replica"),
    ],
)
def test_what_the_intervals_cover(replicas: list[int], note: str) -> None:
    table = comparison.table({str(i): metrics_of([0.5] * count) for i, count in enumerate(replicas)})
    assert comparison.interval_note(table) == note
