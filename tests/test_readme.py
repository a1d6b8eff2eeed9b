"""What README shows works as it stands there."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:3]
import torch
from small import PARAMS, data
from trainlab.config import resolve
from trainlab.training.loop import train
run = {**eval(sys.argv[3]), "suite": "tricks"}
config = resolve({**PARAMS, "runs": {"smooth": run}})["smooth"]
outputs, labels = torch.randn(6, 4), torch.arange(6) % 4
loss, _ = config.objective.loss(outputs, labels, {})
target = 0.9 * torch.eye(4)[labels] + 0.1 / 4
torch.testing.assert_close(loss, -(target * outputs.log_softmax(1)).sum(1).mean())
train(config, data())
"""


def test_the_example_of_an_objective_is_all_that_one_takes(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?class LabelSmoothing.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) < 20
    [line] = re.findall(r"^    (label_smoothing: .*)$", README, re.MULTILINE)
    package = tmp_path / "src" / "trainlab"
    shutil.copytree(ROOT / "src" / "trainlab", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "objectives" / "label_smoothing.py").write_text(code, encoding="utf-8")
    own = yaml.safe_load(line)["label_smoothing"]
    command = [sys.executable, "-B", "-c", SCRIPT, str(ROOT / "tests"), str(tmp_path / "src"), repr(own)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_every_file_that_it_links_to_is_there() -> None:
    for page in ("README.md", "docs/studies.md", "docs/protocol.md", "docs/search.md", "benchmarks/README.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
        assert links
        for link in links:
            assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"


@pytest.mark.parametrize(
    ("page", "metrics"),
    [
        ("README.md", "metrics"),
        ("docs/studies.md", "studies/metrics"),
        ("docs/protocol.md", "studies/protocol/metrics"),
    ],
)
def test_its_tables_show_the_committed_metrics(page: str, metrics: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    tables = sorted((ROOT / metrics).glob("*.csv"))
    assert tables
    for table in tables:
        for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines()):
            shown = f"| `{row['run']}` | {100 * float(row['accuracy']):.1f} % |"
            assert shown in text, f"{page} does not show {table.relative_to(ROOT)}: {shown}"
