"""A student's place in the pipeline: after its teacher."""

from dataclasses import replace

import pytest

from pipeline.scratch import Result, Scratch
from small import data, run_config
from trainlab import config
from trainlab.training.replicas import train

DISTILLED = {"name": "teacher_student", "alpha": 0.5, "temperature": 1.0}


@pytest.fixture
def school(data_repo: Scratch) -> Scratch:
    """Return a repository with one run and its student, nothing trained yet."""
    with data_repo.params() as params:
        params["runs"] = {"teacher": {"suite": "tricks"}}
        params["students"] = {"pupil": {"suite": "tricks", "teacher": "teacher", "objective": DISTILLED}}
    return data_repo


def test_a_student_is_retrained_with_its_teacher_and_a_teacher_not_with_its_student(school: Scratch) -> None:
    for run in ("teacher", "pupil"):  # instead of the checks, which take longer than the trainings
        school.path("checks").mkdir(exist_ok=True)
        school.path(f"checks/{run}.passed").write_text("passed\n")

    def repro() -> Result:
        return school.dvc("repro", "--single-item", "resolve", "train@teacher", "distill@pupil")

    first = repro()
    assert (first.ran("train"), first.ran("distill")) == ({"teacher"}, {"pupil"})
    assert {"teacher_agreement", "label_agreement"} <= set(school.table("plots/history/tricks/pupil.csv")[0])

    with school.params() as params:
        params["students"]["pupil"]["objective"]["alpha"] = 0.9
    second = repro()
    assert (second.ran("train"), second.ran("distill")) == (set(), {"pupil"})

    before = school.models()
    with school.params() as params:
        params["runs"]["teacher"]["seed"] = 7
    third = repro()
    assert (third.ran("train"), third.ran("distill")) == ({"teacher"}, {"pupil"})
    assert all(digest != before[run] for run, digest in school.models().items())


def test_a_missing_or_unsuitable_teacher_is_reported_before_training(school: Scratch) -> None:
    school.stage("resolve")
    refused = school.stage("train", "pupil", check=False)
    assert refused.code == 1
    [line] = refused.messages()
    assert line.startswith("trainlab: models/teacher.safetensors is missing: ")

    other = train(run_config(epochs=1), data())
    other.save(school.path("models/teacher.safetensors"))
    refused = school.stage("train", "pupil", check=False)
    assert refused.code == 1
    [line] = refused.messages()
    assert "is not the model of the run teacher as it is configured now (it differs in run, " in line

    teacher = config.load(school.path("configs/tricks/teacher.yaml"))  # a file that claims to be it
    replace(other, config=teacher).save(school.path("models/teacher.safetensors"))
    refused = school.stage("train", "pupil", check=False)
    assert refused.code == 1
    [line] = refused.messages()
    assert "4 classes of images (3, 20, 20)" in line
    assert "10 classes of images (3, 32, 32)" in line
    assert "epoch" not in refused.stdout
    assert not school.path("plots/history").exists()
