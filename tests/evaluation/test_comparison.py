import json

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas import DataFrame
from scipy.stats import binomtest

from trainlab.errors import UserError
from trainlab.evaluation import comparison

RUNS = ["plain", "better"]


RUN = {"epochs": 15, "precision": "float32"}


def settings_of(**runs):
    """As from configurations with these values, each in place of the plain ones."""
    rows = [{"run": run, **RUN, "subset": None, **own} for run, own in runs.items()]
    return DataFrame(rows, columns=["run", "epochs", "subset", "precision"]).astype({"subset": "Int64"})


def table_of(suite):
    settings = comparison.settings_of(suite / "configs/tricks", RUNS)
    return comparison.table(comparison.read_metrics(suite / "metrics/tricks", RUNS), 100, settings)


def metrics_of(values, **more):
    summary = {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)) if len(values) > 1 else None}
    each = {**summary, "values": values}
    return {
        "replicas": len(values),
        **dict.fromkeys(("accuracy", "f1_micro", "f1_macro", "f1_weighted", "loss"), each),
    } | more


@pytest.fixture
def suite(tmp_path):
    """Files of two runs of the suite `tricks`, scored on 100 images of two classes."""
    for directory in ("configs", "metrics", "history", "confusion"):
        (tmp_path / directory / "tricks").mkdir(parents=True)
    (tmp_path / "configs/tricks/_runs.yaml").write_text("- plain\n- better\n")
    for run, values, log in (("plain", [0.5], "reward"), ("better", [0.6, 0.8], "entropy")):
        own = {"subset": 5000} if run == "better" else {}
        (tmp_path / f"configs/tricks/{run}.yaml").write_text(yaml.safe_dump({"run": run, **RUN, **own}))
        (tmp_path / f"metrics/tricks/{run}.json").write_text(json.dumps(metrics_of(values, trained_on="cpu")))
        replicas = len(values)
        history = [f"replica,epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,{log}"]
        history += [f"{r},{e},0.1,{2 / e},0.5,1.5,0.6,1" for r in range(replicas) for e in (1, 2, 3)]
        (tmp_path / f"history/tricks/{run}.csv").write_text("\n".join(history) + "\n")
        rows = [f"NA,NA,{40 * replicas}", f"NA,1,{10 * replicas}", f"1,NA,{20 * replicas}", f"1,1,{30 * replicas}"]
        (tmp_path / f"confusion/tricks/{run}.csv").write_text("actual,predicted,count\n" + "\n".join(rows) + "\n")
    return tmp_path


def test_runs_keep_the_order_of_params(suite):
    assert comparison.runs_of(suite / "configs/tricks") == RUNS


@pytest.mark.parametrize("text", ["", "plain: 1\n", "[1, 2]\n", "[]\n", "{\n"])
def test_a_list_of_runs_that_is_none(tmp_path, text):
    (tmp_path / "_runs.yaml").write_text(text)
    with pytest.raises(UserError, match=r"_runs\.yaml is not a list of run names.*dvc repro resolve"):
        comparison.runs_of(tmp_path)


def test_an_unknown_suite(tmp_path):
    with pytest.raises(UserError, match=r"a suite trikcs in params\.yaml.*dvc repro resolve"):
        comparison.runs_of(tmp_path / "trikcs")


def test_leftovers_are_files_of_runs_that_are_gone(tmp_path):
    for name in ("plain.json", "plain-classes.csv", "old.json", "old-classes.csv", ".gitignore"):
        (tmp_path / name).touch()
    found = comparison.leftovers(RUNS, [tmp_path, tmp_path / "not_there"])
    assert [path.name for path in found] == ["old-classes.csv", "old.json"]


def test_table(suite):
    table = table_of(suite)
    assert list(table.columns) == [
        *("run", "replicas", "accuracy", "accuracy_std", "accuracy_low", "accuracy_high"),
        *("f1_micro", "f1_macro", "f1_weighted", "loss", "trained_on", "epochs", "subset", "precision"),
    ]
    assert table["run"].tolist() == RUNS
    assert table["accuracy"].tolist() == [0.5, pytest.approx(0.7)]
    assert np.isnan(table["accuracy_std"][0])
    assert table["accuracy_std"][1] == pytest.approx(0.02**0.5)
    assert comparison.intervals(table)["plain"] == comparison.wilson(0.5, 100)
    plain, better = comparison.as_csv(table).splitlines()[1:]
    assert plain == "plain,1,0.5,,0.403832,0.596168,0.5,0.5,0.5,0.5,cpu,15,,float32"
    assert better.endswith(",cpu,15,5000,float32")


def test_metrics_without_a_device_make_a_table():
    table = comparison.table({"plain": metrics_of([0.5])}, 100, settings_of(plain={}))
    assert comparison.as_csv(table).splitlines()[1].endswith(",0.5,,15,,float32")
    assert comparison.caption(table, 10_000) == (
        "10,000 test images; 1 replica a run; 15 epochs of all training images; float32"
    )


def test_settings_are_read_in_the_order_of_the_runs(suite):
    settings = comparison.settings_of(suite / "configs/tricks", RUNS[::-1])
    assert settings.fillna(0).to_dict("list") == {
        "run": ["better", "plain"],
        "epochs": [15, 15],
        "subset": [5000, 0],  # 0 for missing
        "precision": ["float32", "float32"],
    }
    assert comparison.settings_of(suite / "configs/tricks", ["plain"])["subset"].isna().all()


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "- a list\n",
        "epochs: 3\n",
        "precision: float32\n",
        "epochs: many\nprecision: float32\n",
        "epochs: []",
    ],
)
def test_a_missing_or_damaged_configuration_is_named_with_the_command(suite, content):
    path = suite / "configs/tricks/better.yaml"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError) as failure:
        comparison.settings_of(suite / "configs/tricks", RUNS)
    what = "missing: run" if content is None else "damaged: delete it, then run"
    assert str(failure.value) == f"{path} is {what} `dvc repro resolve`"


@given(
    st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95])
)
@settings(max_examples=100, deadline=None)
def test_wilson_agrees_with_scipy(counts, confidence):
    right, images = counts
    low, high = comparison.wilson(right / images, images, confidence)
    expected = binomtest(right, images).proportion_ci(confidence, method="wilson")
    assert (low, high) == (pytest.approx(expected.low, abs=1e-9), pytest.approx(expected.high, abs=1e-9))
    assert 0 <= low <= right / images + 1e-12
    assert right / images - 1e-12 <= high <= 1


def test_images_are_counted_once_whatever_the_replicas(suite):
    metrics = comparison.read_metrics(suite / "metrics/tricks", RUNS)
    assert comparison.count_images(suite / "confusion/tricks", metrics) == 100


def test_runs_scored_on_different_images_are_not_compared(suite):
    metrics = comparison.read_metrics(suite / "metrics/tricks", RUNS)
    file = suite / "confusion/tricks/better.csv"
    file.write_text(file.read_text().replace("NA,NA,80", "NA,NA,82"))
    with pytest.raises(UserError, match=r"plain and better were scored on different.*better\.csv.*compare@tricks"):
        comparison.count_images(suite / "confusion/tricks", metrics)


def test_curves_hold_what_all_runs_have(suite):
    curves = comparison.curves(comparison.read_histories(suite / "history/tricks", RUNS))
    assert list(curves.columns) == comparison.CURVES
    assert curves["run"].tolist() == ["plain"] * 3 + ["better"] * 6
    assert curves["epoch"].tolist() == [1, 2, 3] * 3
    assert curves["train_loss"].tolist() == pytest.approx([2, 1, 2 / 3] * 3)


@pytest.mark.parametrize("content", [None, "", "{", "epoch\n1\n"])
@pytest.mark.parametrize("directory", ["metrics", "history", "confusion"])
def test_a_missing_or_damaged_file_is_named_with_the_command(suite, directory, content):
    def read():
        metrics = comparison.read_metrics(suite / "metrics/tricks", RUNS)
        comparison.read_histories(suite / "history/tricks", RUNS)
        comparison.count_images(suite / "confusion/tricks", metrics)

    read()
    path = suite / directory / "tricks" / ("better.json" if directory == "metrics" else "better.csv")
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError) as failure:
        read()
    assert str(path) in str(failure.value)
    assert "dvc repro compare@tricks" in str(failure.value)
    assert "\n" not in str(failure.value)


def test_captions_count_replicas_and_devices():
    metrics = {"one": metrics_of([0.5], trained_on="cpu"), "two": metrics_of([0.5, 0.6], trained_on="cuda")}
    table = comparison.table(metrics, 100, settings_of(one={}, two={}))
    learned = "15 epochs of all training images; float32"
    assert comparison.caption(table, 100) == (
        f"100 test images; 1 to 2 replicas a run; {learned}; trained on 2 kinds of device"
    )
    assert comparison.caption(table[1:], 100) == f"100 test images; 2 replicas a run; {learned}; trained on cuda"


@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        ({}, {}, "15 epochs of all training images; float32"),
        ({"epochs": 1}, {"epochs": 1}, "1 epoch of all training images; float32"),
        ({"epochs": 10}, {}, "10 to 15 epochs of all training images; float32"),
        ({"epochs": 1}, {}, "1 to 15 epochs of all training images; float32"),
        ({"epochs": 1000}, {"epochs": 2000}, "1,000 to 2,000 epochs of all training images; float32"),
        ({}, {"precision": "bfloat16"}, "15 epochs of all training images; float32 or bfloat16"),
        ({"subset": 5000}, {"subset": 5000}, "15 epochs of 5,000 training images; float32"),
        ({"subset": 5000}, {"subset": 500}, "15 epochs of 500 to 5,000 training images; float32"),
        ({"subset": 5000}, {}, "15 epochs of all or 5,000 training images; float32"),
    ],
)
def test_captions_say_how_the_runs_were_trained(one, two, says):
    metrics = {"one": metrics_of([0.5], trained_on="cpu"), "two": metrics_of([0.6], trained_on="cpu")}
    table = comparison.table(metrics, 100, settings_of(one=one, two=two))
    assert comparison.caption(table, 100) == f"100 test images; 1 replica a run; {says}; trained on cpu"


def test_log_names_are_what_the_objective_logged():
    loop = [
        "replica",
        "epoch",
        "lr",
        *(f"{split}_{what}" for split in ("train", "test") for what in ("loss", "accuracy")),
    ]
    more = ["validation_loss", "validation_accuracy", "accuracy_gap", "gradient_norm.conv1", "update_ratio.head"]
    logged = ["reward", "entropy", "baseline", "baseline_loss", "teacher_agreement", "lrelu_share"]
    assert comparison.log_names([*loop, *more, *logged]) == logged
    assert comparison.log_names([*loop, *more]) == []


def test_table_is_plain_text_where_there_is_no_terminal(suite, capsys):
    table = table_of(suite)
    comparison.show(table, "a caption")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["plain", "0.5000", "0.4038", "to", "0.5962", "-", "0.5000", "0.5000"]
    assert "a caption." in lines


def test_table_is_framed_in_a_terminal(suite, capsys, monkeypatch):
    table = table_of(suite)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    comparison.show(table, "a caption")
    out = capsys.readouterr().out
    assert "│ plain" in out
    assert "0.4038 to 0.5962" in out


@pytest.mark.parametrize(
    ("column", "watched"), [("validation_loss", True), ("gradient_norm.head", True), ("test_loss", False)]
)
def test_a_run_has_a_dashboard_where_it_watches_more(column, watched):
    assert comparison.has_dashboard(DataFrame({"epoch": [1], column: [0.5]})) is watched


def test_validation_accuracy_is_that_of_the_last_epoch(suite):
    histories = comparison.read_histories(suite / "history/tricks", RUNS)
    assert comparison.validation_accuracies(histories) == {}
    histories["better"]["validation_accuracy"] = [0.1, 0.9, 0.5, 0.2, 0.1, 0.7]  # two replicas, three epochs
    assert comparison.validation_accuracies(histories) == {"better": pytest.approx(0.6)}
