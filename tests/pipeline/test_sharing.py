"""Results shared through a DVC remote: push here, clone and pull there."""


def test_a_clone_pulls_and_has_nothing_to_do(repo, tmp_path):
    repo.dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    repo.commit("a remote")
    repo.dvc("push")

    clone = repo.clone(tmp_path / "clone")
    assert not clone.path("models/baseline.safetensors").exists()
    clone.dvc("pull")
    assert "Data and pipelines are up to date." in clone.dvc("status").stdout
    assert not clone.dvc("repro").ran_anything()
    assert clone.models() == repo.models()
    assert clone.git("status", "--porcelain").stdout == ""
