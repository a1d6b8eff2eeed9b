"""`trainlab search` without a cluster: what it refuses. tests/scale/test_cluster_search.py has one."""

from pathlib import Path

import pytest

from commands.console import Call
from search.small_search import PARAMS, changed, data
from trainlab.config import reading
from trainlab.data import stored
from trainlab.data.stored import Split


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of what to search, in a project with images, which is the working directory."""
    train, test = data()
    assert test is not None
    splits = Split(train.images, train.labels), Split(test.images, test.labels)
    stored.save(tmp_path / "data/normalized", *splits, train.classes)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "search/params.yaml"
    path.parent.mkdir()
    path.write_text(reading.dump(PARAMS))
    return path


def refused(call: Call, address: str, *arguments: str) -> str:
    """Return the message of a search that is refused on one line, before there are trials."""
    shown = call("search", "--address", address, *arguments)
    assert (shown.code, shown.out, shown.err.count("\n")) == (1, "", 1)
    assert not Path("search/trials.db").exists()
    return shown.err.removeprefix("trainlab: ").removesuffix("\n")


def test_trials_that_look_at_each_other_need_a_cohort(params: Path, call: Call) -> None:
    params.write_text(reading.dump(changed(sampler={"name": "tpe", "startup": 2}, moves=0)))
    assert refused(call, "127.0.0.1:1").startswith(
        "search/params.yaml: with a pruner or the sampler tpe, trials that run at the same time must not look at each other: "
        "set `cohort` to their number, such as `cohort: 8`"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("params")
def test_an_address_without_a_cluster(call: Call) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra `cluster`)", exc_type=ImportError)
    assert refused(call, "127.0.0.1:1").startswith("no Ray cluster at 127.0.0.1:1 (")
    assert refused(call, "127.0.0.1:1").endswith(
        ": start one with `ray start --head`, and run this on one of its nodes"
    )
    assert refused(call, "somewhere").startswith("--address is 'somewhere': it must be HOST:PORT")


@pytest.mark.parametrize(
    ("missing", "says"),
    [("data/normalized/train.safetensors", "data/normalized"), ("search/params.yaml", "search/params.yaml")],
)
def test_missing_files_are_named(missing: str, says: str, params: Path, call: Call) -> None:
    (params.parents[1] / missing).unlink()
    assert says in refused(call, "127.0.0.1:1")
