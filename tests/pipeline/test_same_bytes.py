"""The same configuration gives the same bytes in another process; another seed gives others."""

import numpy as np
import pytest
from safetensors.numpy import load_file


@pytest.mark.parametrize("run", ["baseline", "dropout_both"])
def test_another_process_gives_the_same_bytes(repo, run):
    before = repo.models()[run], repo.digests("plots/history")
    repo.path(f"models/{run}.safetensors").unlink()
    repo.stage("train", run)
    assert (repo.models()[run], repo.digests("plots/history")) == before


def test_bfloat16_gives_the_same_bytes(data_repo):
    repo = data_repo
    configure(repo, {"run": {"precision": "bfloat16"}, "float32": {}})
    repo.stage("train", "run")
    first = repo.models()["run"]
    repo.stage("train", "run")
    assert repo.models()["run"] == first
    repo.stage("train", "float32")
    assert not same(weights(repo, "run"), weights(repo, "float32"))


def test_a_replica_is_the_run_of_its_seed(data_repo):
    repo = data_repo
    configure(repo, {"both": {"seed": 5, "replicas": 2}, "first": {"seed": 5}, "second": {"seed": 6}})
    for run in ("both", "first", "second"):
        repo.stage("train", run)
    assert same(weights(repo, "both", 0), weights(repo, "first"))
    assert same(weights(repo, "both", 1), weights(repo, "second"))
    assert not same(weights(repo, "first"), weights(repo, "second"))


def configure(repo, runs):
    """Runs with dropout, shuffled order and initial weights to draw: all that takes random numbers."""
    model = {"name": "tf_cnn", "initializer": "kaiming_uniform", "dropout_conv": 0.2, "dropout_dense": 0.2}
    with repo.params() as params:
        params["runs"] = {run: {"suite": "tricks", "model": model, **own} for run, own in runs.items()}
    repo.stage("resolve")


def weights(repo, run, replica=0):
    """A replica's tensors by name."""
    tensors = load_file(repo.path(f"models/{run}.safetensors"))
    found = {name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{replica}.")}
    assert found
    return found


def same(ones, others):
    assert ones.keys() == others.keys()
    return all(np.array_equal(ones[name], others[name]) for name in ones)
