"""What a user gets wrong stops the pipeline before anything is trained or overwritten, with one line a mistake."""

import pytest

from pipeline.scratch import create


def test_each_mistake_in_params_has_its_line(data_repo):
    repo = data_repo
    before = repo.digests("configs")
    with repo.params() as params:
        runs, suites = params["runs"], params["suites"]
        params["sede"] = 1
        suites["tricks"]["batch_size"] = "many"
        suites["idle"] = {"epochs": 1}
        runs["baseline"]["ephocs"] = 3
        runs["norm_inputs"]["model"] = {"name": "tf_cn"}
        runs["lr_schedule"]["suite"] = "trick"
        runs["weight_decay"]["optimizer"]["weight_decay"] = -1
        runs["Init"] = {"suite": "tricks"}
    result = repo.stage("resolve", check=False)

    assert result.code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    expected = [
        # where, what is there, what would be right
        ("sede", "did you mean seed?", "known here: "),
        ("suites.tricks.batch_size", "'many'", "a valid integer"),
        ("suites.idle", "no run", "give it one"),
        ("runs.baseline.ephocs", "did you mean epochs?", "known here: "),
        ("runs.norm_inputs.model.name", "'tf_cn'", "tf_cnn"),
        ("runs.lr_schedule.suite", "'trick'", "one of: tricks"),
        ("runs.weight_decay.optimizer.weight_decay", "-1", "greater than or equal to 0"),
        ("runs.Init", "not a valid name", "small letters"),
    ]
    for words in expected:
        matching = [line for line in lines if all(word in line for word in words) and f" {words[0]} " in line]
        assert len(matching) == 1, f"{words}: {matching} among\n{result.stderr}"
    assert len(lines) == len(expected)
    assert repo.digests("configs") == before
    assert not list(repo.root.glob(".configs*"))


def test_repro_stops_before_anything_is_trained(data_repo):
    repo = data_repo
    with repo.params() as params:
        params["runs"]["dropout_both"]["model"]["dropout_conv"] = 1.5  # the last run's, so that others could go first
    result = repo.dvc("repro", check=False)
    assert result.code != 0
    assert not result.ran("train")
    assert repo.models() == {}
    [line] = result.said()
    assert "runs.dropout_both.model.dropout_conv is 1.5" in line
    assert "less than 1" in line


def test_an_unknown_run_is_said(data_repo):
    result = data_repo.stage("train", "base_line", check=False)
    assert result.code == 1
    [line] = result.stderr.splitlines()
    assert "no run 'base_line'" in line
    assert "did you mean baseline?" in line


@pytest.fixture
def fresh(tmp_path):
    """A repository without data."""
    return create(tmp_path / "repo", tmp_path / "mirror")


def assert_refused(repo, *words):
    result = repo.dvc("repro", "download", check=False)
    assert result.code != 0
    [line] = result.said()
    assert all(word in line for word in ("CIFAR10_MIRROR", *words)), line
    assert not repo.path("data/raw").exists()
    assert sorted(path.name for path in repo.path("data").iterdir()) == [".gitignore", "folder"]


def test_a_mirror_that_is_not_there(fresh):
    fresh.mirror = fresh.root.parent / "elsewhere"
    assert_refused(fresh, f"{fresh.mirror} does not exist")


def test_a_mirror_with_a_damaged_file(fresh):
    file = fresh.mirror / "cifar-10-batches-py/data_batch_3"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert_refused(fresh, "data_batch_3 has the MD5", str(fresh.mirror))


def test_what_was_downloaded_survives_a_failed_stage(data_repo):
    repo = data_repo
    before = repo.digests("data/raw")
    repo.mirror = repo.root.parent / "elsewhere"
    assert repo.stage("download", check=False).code == 1
    assert repo.digests("data/raw") == before
