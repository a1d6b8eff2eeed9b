"""Results shared through a DVC remote: push here, clone and pull there."""


def test_a_clone_pulls_and_has_nothing_to_do(repo, tmp_path):
    repo.dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    repo.commit("a remote")
    repo.dvc("push")

    clone = repo.clone(tmp_path / "clone")
    assert not clone.path("models/baseline.safetensors").exists()
    clone.dvc("pull", "dvc.yaml")  # the studies and the search have nothing yet
    assert "Data and pipelines are up to date." in clone.dvc("status", "dvc.yaml").stdout
    assert not clone.dvc("repro").ran_anything()
    assert clone.models() == repo.models()
    assert clone.git("status", "--porcelain").stdout == ""


def test_a_clone_without_the_cache_trains_only_what_an_experiment_changes(repo, tmp_path):
    clone = repo.clone(tmp_path / "clone")
    clone.mirror = repo.mirror
    clone.git("config", "user.name", "Scratch")
    clone.git("config", "user.email", "scratch@example.org")
    clone.dvc("repro", "normalize")
    assert clone.git("status", "--porcelain").stdout == ""
    experiment = clone.dvc("exp", "run", "--allow-missing", "-S", "lr=2e-3")
    assert experiment.ran("train") == experiment.ran("evaluate") == {"baseline", "norm_inputs"}
    assert experiment.ran("compare") == {"tricks"}
    assert set(clone.models()) == {"baseline", "norm_inputs"}
    assert len(clone.table("metrics/tricks.csv")) == 8  # the other six as they are in Git
