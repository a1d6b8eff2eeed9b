"""Tables of the pages come from the metrics, and statements about them hold."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

import forked
from pages import PROJECT

METRICS = """\
run,replicas,accuracy,accuracy_std,accuracy_low,accuracy_high,f1_macro,loss,test_images,parameters,epochs,subset,validation,\
precision,trained_on,torch
first,1,0.5,,0.49,0.51,0.4,1.25,10000,122570,3,,,float32,CPU,2.15
second,3,0.7071,0.012,0.70,0.72,0.6,1,10000,500,5,1000,,bfloat16,CPU,2.15
third,1,0.505,,0.495,0.515,0.4,1.25,10000,500,3,,,float32,CPU,2.11
"""
PAGE = """\
Text above.

<!-- results: metrics/suite.csv -->
| run | what it has | accuracy | 95 % interval | std | seeds | macro-F1 | loss | parameters | precision |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `second` | more | 1.0 % | | | | | | | |
| `gone` | deleted from params.yaml | 2.0 % | | | | | | | |
| `first` | less | 3.0 % | | | | | | | |
<!-- /results -->

Text below.
"""
FILLED = """\
Text above.

<!-- results: metrics/suite.csv -->
| run | what it has | accuracy | 95 % interval | std | seeds | macro-F1 | loss | parameters | precision |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `first` | less | 50.0 % | 49.0 to 51.0 |  | 1 | 40.0 | 1.250 | 122,570 | float32 |
| `second` | more | 70.7 % | 70.0 to 72.0 | 1.2 | 3 | 60.0 | 1.000 | 500 | bfloat16 |
| `third` |  | 50.5 % | 49.5 to 51.5 |  | 1 | 40.0 | 1.250 | 500 | float32 |

- `suite`: CAPTION.
<!-- /results -->

Text below.
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fill", PROJECT / "docs/fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "metrics").mkdir()
    monkeypatch.setattr(script.comparison, "caption", lambda rows: "CAPTION")  # it has tests of its own
    (tmp_path / "metrics/suite.csv").write_text(METRICS)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(PAGE)
    return tmp_path


@pytest.mark.slow
def test_pages_are_up_to_date_and_their_claims_hold() -> None:
    done = subprocess.run(
        [forked.python(), "docs/fill.py", "--check"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_table_shows_the_metrics_and_keeps_the_cells_written_by_hand(script: ModuleType, root: Path) -> None:
    assert script.fill(PAGE, root) == FILLED
    assert script.fill(FILLED, root) == FILLED


def test_one_table_of_two_suites(script: ModuleType, root: Path) -> None:
    (root / "metrics/other.csv").write_text(METRICS.replace("first", "fourth"))
    filled = script.fill(PAGE.replace("metrics/suite.csv", "metrics/suite.csv metrics/other.csv"), root)
    assert [line[:8] for line in filled.splitlines() if line.startswith("| `")] == [
        *("| `first", "| `secon", "| `third"),
        *("| `fourt", "| `secon", "| `third"),
    ]
    assert [line for line in filled.splitlines() if line.startswith("- ")] == [
        "- `suite`: CAPTION.",
        "- `other`: CAPTION.",
    ]


COMPARISONS = """\
run,against,seeds,seeds_against,images,effect,low,high,p_value,p_holm,df,f1_effect,f1_low,f1_high,margin,verdict,answer
second,first,3,3,100,0.2,0.1,0.3,0.001,0.002,9,0.2,0.1,0.3,0.01,helps,"`second` helps: +20.0 points"
third,first,3,3,100,0.005,-0.01,0.02,0.3,0.3,9,0,-0.1,0.1,0.01,no difference shown,`third` shows no difference
"""


def test_answers_are_one_sentence_per_comparison(script: ModuleType, root: Path) -> None:
    (root / "metrics/suite-comparisons.csv").write_text(COMPARISONS)
    page = "Above.\n<!-- answers: metrics/suite-comparisons.csv -->\nold\n<!-- /answers -->\nBelow.\n"
    filled = script.fill(page, root)
    assert filled.splitlines()[1:-1] == [
        "<!-- answers: metrics/suite-comparisons.csv -->",
        "- `second` helps: +20.0 points",
        "- `third` shows no difference",
        "<!-- /answers -->",
    ]
    assert script.fill(filled, root) == filled


def test_a_study_without_results_names_the_command_that_makes_them(script: ModuleType, root: Path) -> None:
    page = PAGE.replace("metrics/suite.csv", "studies/metrics/alpha.csv")
    page += "<!-- answers: studies/metrics/alpha-comparisons.csv -->\n<!-- /answers -->\n"
    empty = script.fill(page, root)
    command = "`dvc --cd studies repro compare@alpha` makes them."
    assert [line for line in empty.splitlines() if line.startswith(("|", "- "))] == [
        *PAGE.splitlines()[3:5],
        "| `second` | more |  |  |  |  |  |  |  |  |",
        "| `gone` | deleted from params.yaml |  |  |  |  |  |  |  |  |",
        "| `first` | less |  |  |  |  |  |  |  |  |",
        f"- `alpha` has no results yet: {command}",
        f"- `alpha` has no comparisons yet: {command}",
    ]
    assert script.fill(empty, root) == empty

    (root / "studies/metrics").mkdir(parents=True)
    (root / "studies/metrics/alpha.csv").write_text(METRICS)
    of_one_run = COMPARISONS.splitlines()[0] + "\n"
    (root / "studies/metrics/alpha-comparisons.csv").write_text(of_one_run)
    trained = script.fill(empty, root)
    assert "| `second` | more | 70.7 % |" in trained
    assert "no results yet" not in trained
    assert f"- `alpha` has no comparisons yet: {command}" in trained
    (root / "studies/metrics/alpha-comparisons.csv").write_text(COMPARISONS)
    assert "- `second` helps: +20.0 points\n" in script.fill(trained, root)


def test_a_picture_is_shown_if_it_is_there(script: ModuleType, root: Path) -> None:
    page = "Above.\n<!-- picture: plots/a.png: what it shows -->\n<!-- /picture -->\nBelow.\n"
    assert script.fill(page, root) == page
    (root / "plots").mkdir()
    (root / "plots/a.png").write_bytes(b"")
    filled = script.fill(page, root, root / "docs")
    assert filled.splitlines()[2] == "![what it shows](../plots/a.png)"
    assert script.fill(filled, root, root / "docs") == filled
    (root / "plots/a.png").unlink()
    assert script.fill(filled, root, root / "docs") == page


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("second helps", True),
        ("second hurts", False),
        ("third no difference shown", True),
        ("third no difference that matters", False),
        ("third helps", False),
        ("fourth helps", False),
    ],
)
def test_claims_about_answers(script: ModuleType, root: Path, claim: str, holds: bool) -> None:
    (root / "metrics/suite-comparisons.csv").write_text(COMPARISONS)
    broken = list(script.broken_claims(f"<!-- claim: metrics/suite-comparisons.csv: {claim} -->\n", root))
    assert broken == ([] if holds else [f"metrics/suite-comparisons.csv does not show {claim}"])


@pytest.mark.parametrize(
    ("chain", "broken"),
    [
        ("second > first", []),
        ("first > second", ["first > second"]),
        ("second ~ first", ["second ~ first"]),
        ("second > first ~ third", []),
        ("third ~ first", []),
        ("third > first", ["third > first"]),
        ("third ~ second", []),  # p is below 0.05 before the adjustment
        ("third > second", ["third > second"]),
        ("first > fourth", []),
        ("fourth > first", ["fourth > first"]),
        ("second ~ fourth", []),  # p is exactly 0.05
        ("second > fifth", ["second > fifth"]),
    ],
)
def test_claims_about_pairs(script: ModuleType, root: Path, chain: str, broken: list[str]) -> None:
    rows = [
        "run,against,effect,low,high,p_value,p_holm",
        "second,first,0.2,0.1,0.3,0.001,0.003",
        "third,first,0,-1,1,0.5,1",
        "third,second,-0.2,-0.3,-0.1,0.04,0.08",
        "fourth,first,-0.2,-0.3,-0.1,0.001,0.003",
        "fourth,second,-0.4,-0.8,0,0.01,0.05",
    ]
    (root / "metrics/suite-pairs.csv").write_text("\n".join(rows) + "\n")
    found = list(script.broken_claims(f"<!-- claim: metrics/suite-pairs.csv: {chain} -->\n", root))
    assert found == [f"metrics/suite-pairs.csv does not show {claim}" for claim in broken]


def test_check_reports_and_writes_nothing(
    script: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "ROOT", root)
    assert script.main(["--check"]) == 1
    assert (root / "README.md").read_text() == PAGE
    assert capsys.readouterr().err == "README.md is out of date: run `python docs/fill.py`\n"
    assert script.main([]) == 0
    assert (root / "README.md").read_text() == FILLED
    assert script.main(["--check"]) == 0


def test_broken_claim_is_an_error_also_without_check(
    script: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "ROOT", root)
    (root / "metrics/suite-comparisons.csv").write_text(COMPARISONS)
    (root / "docs/page.md").write_text("<!-- claim: metrics/suite-comparisons.csv: second hurts -->\n")
    assert script.main([]) == 1
    assert "docs/page.md: metrics/suite-comparisons.csv does not show second hurts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("page", "file"),
    [
        (PAGE, "suite.csv"),
        ("<!-- answers: metrics/suite-comparisons.csv -->\n<!-- /answers -->\n", "suite-comparisons.csv"),
        ("<!-- claim: metrics/suite-comparisons.csv: first helps -->\n", "suite-comparisons.csv"),
        ("<!-- claim: metrics/suite-pairs.csv: first > second -->\n", "suite-pairs.csv"),
    ],
)
@pytest.mark.parametrize(("content", "says"), [(None, "is missing"), ("run\nfirst\n", "is damaged")])
def test_bad_metrics_are_reported_with_the_command_that_writes_them(
    script: ModuleType,
    root: Path,
    page: str,
    file: str,
    content: str | None,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(script, "ROOT", root)
    (root / "README.md").write_text(page)
    (root / "metrics/suite.csv").unlink()
    if content is not None:
        (root / "metrics" / file).write_text(content)
    assert script.main([]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("README.md: ")
    assert f"{file} {says}" in line
    assert "`dvc repro compare@suite`" in line


def test_caption_states_the_size_of_a_study_in_whole_images(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "suite.csv").write_text(METRICS)
    rows = script.read(tmp_path / "suite.csv")
    assert "1,000 training images" in script.comparison.caption(rows)
    assert "10,000 test images" in script.comparison.caption(rows)


def test_unknown_argument_is_refused(script: ModuleType) -> None:
    assert script.main(["--chek"]) == 2
