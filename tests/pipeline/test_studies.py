"""The studies: the same stages, on the pipeline's own images, with results under studies/."""

import pytest
import yaml

from pipeline.scratch import PROJECT, Scratch
from trainlab import config


@pytest.fixture
def small_studies(data_repo: Scratch) -> Scratch:
    """One study of two runs and a student, nothing trained yet."""
    path = data_repo.path("studies/params.yaml")
    params = yaml.safe_load(path.read_text())
    params |= {
        "threads": 1,
        "suites": {"alpha": {"epochs": 1, "subset": 60}},
        "runs": {"alpha_0": {"suite": "alpha"}, "fast": {"suite": "alpha", "lr": 1e-2}},
        "students": {"alpha_1": {**params["students"]["alpha_1"], "suite": "alpha", "teacher": "alpha_0"}},
    }
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return data_repo


def test_studies_build_what_they_need_and_leave_the_pipeline_alone(small_studies):
    small_studies.path("data/normalized/stats.json").unlink()
    built = small_studies.dvc("repro", "studies/dvc.yaml")
    assert "Running stage 'studies/dvc.yaml:distill@alpha_1'" in built.stdout
    assert built.ran("train") == built.ran("evaluate") == set()  # those of the main pipeline
    rows = small_studies.table("studies/metrics/alpha.csv")
    assert [(row["run"], row["epochs"], row["subset"]) for row in rows] == [
        (run, "1", "60") for run in ("alpha_0", "fast", "alpha_1")
    ]
    assert {"curves.png", "f1.png", "logs-alpha_1.png"} <= set(small_studies.digests("studies/plots/comparison/alpha"))
    small_studies.commit("studies")
    tracked = small_studies.git("ls-files", "studies").stdout.split()
    assert {"studies/dvc.lock", "studies/metrics/alpha.csv", "studies/plots/comparison/alpha/f1.png"} <= set(tracked)
    assert not [name for name in tracked if name.endswith((".safetensors", "-classes.csv"))]
    assert "studies" not in small_studies.dvc("metrics", "show").stdout
    assert not small_studies.dvc("repro", "studies/dvc.yaml").ran_anything()


def test_a_mistake_is_told_with_the_studies_own_file(small_studies):
    small_studies.edit("studies/params.yaml", "subset: 60", "subsett: 60")
    refused = small_studies.stage("resolve", "--check", "--under", "studies", check=False)
    assert refused.code == 1
    assert refused.said()[0].startswith("trainlab: studies/params.yaml: suites.alpha.subsett is not a parameter")


def test_the_projects_studies_are_valid_and_documented():
    params = config.load_params(PROJECT / "studies/params.yaml")
    runs = config.resolve(params, where="studies/params.yaml", data=False)
    told = (PROJECT / "docs/studies.md").read_text()
    for suite in params["suites"]:
        assert f"`{suite}`" in told
        assert f"studies/plots/comparison/{suite}/" in told
    assert len(runs) == len(params["runs"]) + len(params["students"])
