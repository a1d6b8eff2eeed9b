"""A student's place in the pipeline: behind its teacher."""

import json

import pytest

from pipeline.scratch import Scratch
from small import data, run_config
from trainlab.training.loop import train

DISTILLED = {"name": "teacher_student", "alpha": 0.5, "temperature": 1.0}


@pytest.fixture
def school(data_repo: Scratch) -> Scratch:
    """One run and its student, nothing trained yet."""
    with data_repo.params() as params:
        params["runs"] = {"teacher": {"suite": "tricks"}}
        params["students"] = {"pupil": {"suite": "tricks", "teacher": "teacher", "objective": DISTILLED}}
    return data_repo


def test_a_changed_teacher_retrains_its_student_and_a_changed_student_nothing_else(school):
    first = school.dvc("repro")
    assert (first.ran("train"), first.ran("distill")) == ({"teacher"}, {"pupil"})
    assert (first.ran("evaluate"), first.ran("evaluate_student")) == ({"teacher"}, {"pupil"})
    assert list(json.loads(school.path("metrics/tricks.json").read_text())) == ["teacher", "pupil"]
    assert {"teacher_agreement", "label_agreement"} <= set(school.table("plots/history/tricks/pupil.csv")[0])
    assert "logs-pupil.png" in school.digests("plots/comparison/tricks")
    assert "logs-teacher.png" not in school.digests("plots/comparison/tricks")

    with school.params() as params:
        params["students"]["pupil"]["objective"]["alpha"] = 0.9
    second = school.dvc("repro")
    assert (second.ran("train"), second.ran("distill")) == (set(), {"pupil"})

    before = school.models()
    with school.params() as params:
        params["runs"]["teacher"]["seed"] = 7
    third = school.dvc("repro")
    assert (third.ran("train"), third.ran("distill")) == ({"teacher"}, {"pupil"})
    assert all(digest != before[run] for run, digest in school.models().items())


def test_a_teacher_of_other_images_is_an_error_before_training(school):
    school.stage("resolve")
    train(run_config(epochs=1), data()).save(school.path("models/teacher.safetensors"))
    refused = school.stage("train", "pupil", check=False)
    assert refused.code == 1
    [line] = refused.said()
    assert "knows 4 classes of images (3, 20, 20), and was given 10 classes of images (3, 32, 32)" in line
    assert "epoch" not in refused.stdout
    assert not school.path("plots/history").exists()


def test_a_student_without_its_teachers_model_is_told_what_to_run(school):
    school.stage("resolve")
    refused = school.stage("train", "pupil", check=False)
    assert refused.said() == [
        "trainlab: models/teacher.safetensors is missing: train it with `dvc repro`, or fetch it with `dvc pull`"
    ]
