"""The committed pictures are what the code draws of the committed numbers, pixel by pixel.

After a change of the drawing code, draw them again: `dvc repro --single-item draw@tricks draw@objectives`.
"""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from pandas import DataFrame

from pages import PROJECT
from pictures import check, with_locked_matplotlib
from trainlab import config
from trainlab.evaluation import comparison

COMMITTED = PROJECT / "plots/pictures"
NUMBERS = ("metrics", "plots")

pytestmark = with_locked_matplotlib


@cache
def stage() -> ModuleType:
    """Return stages/draw.py as a module, without what it sets for a process of its own."""
    spec = importlib.util.spec_from_file_location("stage_draw", PROJECT / "stages/draw.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "_start", ModuleType("_start"))
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory for pictures, in a project with the committed numbers and resolved parameters."""
    for name in NUMBERS:
        (tmp_path / name).symlink_to(PROJECT / name)
    params = config.load_params(PROJECT / "params.yaml")
    config.save_all(config.resolve(params), tmp_path / "configs", config.resolve_suites(params))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drawn").mkdir()
    return tmp_path / "drawn"


def numbers(suite: str) -> tuple[dict[str, comparison.RunMetrics], dict[str, DataFrame], comparison.Suite]:
    compared = comparison.read_suite(Path("configs") / suite)
    metrics = comparison.read_metrics(Path("metrics") / suite, compared.runs)
    return metrics, comparison.read_histories(Path("plots/history") / suite, compared.runs), compared


@pytest.mark.parametrize("suite", ["objectives", pytest.param("tricks", marks=pytest.mark.slow)])
def test_pictures_of_a_suite(suite: str, drawn: Path) -> None:
    metrics, histories, _ = numbers(suite)
    stage().draw_suite(suite, metrics, histories, drawn)
    check(drawn, COMMITTED / suite, {"f1.png", "curves.png", "reliability.png"})


@pytest.mark.parametrize("suite", ["objectives", pytest.param("tricks", marks=pytest.mark.slow)])
def test_pictures_of_differences(suite: str, drawn: Path) -> None:
    metrics, _, compared = numbers(suite)
    stage().draw_differences(suite, compared, comparison.caption(comparison.table(metrics)), drawn)
    check(drawn, COMMITTED / suite, {"effects.png", "pairs.png"})


def test_pictures_of_a_run(drawn: Path) -> None:
    metrics, histories, _ = numbers("objectives")
    run = "policy_gradient"
    stage().draw_run("objectives", run, metrics[run], histories[run], drawn)
    check(drawn, COMMITTED / "objectives", {f"{name}-{run}.png" for name in ("confusion", "layers", "logs")})
