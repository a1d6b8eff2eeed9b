"""The predictions that Git keeps: files of predicted classes, without scores."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from trainlab.errors import UserError
from trainlab.evaluation import effects, predicted_classes
from trainlab.evaluation.metrics import Predictions
from trainlab.evaluation.predicted_classes import PredictedClasses
from trainlab.files import write_tensors

CLASSES = ("ant", "bee", "cat")
LABELS = np.arange(60) % 3


def scored(seed: int) -> Predictions:
    scores = np.random.default_rng(seed).normal(size=(2, 60, 3))
    return Predictions(scores.astype(np.float32), LABELS, CLASSES)


@given(data=st.data(), count=st.sampled_from([1, 3, 256, 257]), shape=st.tuples(st.integers(1, 4), st.integers(1, 9)))
def test_a_file_has_what_was_saved(
    data: st.DataObject, count: int, shape: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    def indices(shape: Any) -> NDArray[np.int64]:
        drawn: NDArray[np.int64] = data.draw(arrays(np.int64, shape, elements=st.integers(0, count - 1)))
        return drawn

    names = tuple(f"class {number}" for number in range(count))
    saved = PredictedClasses(indices(shape), indices(shape[1:]), names, "abc")
    path = tmp_path_factory.mktemp("saved") / "predicted_classes/tricks/run.safetensors"
    saved.save(path)
    for found in (PredictedClasses.load(path), predicted_classes.load(path)):
        assert isinstance(found, PredictedClasses)
        assert np.array_equal(found.predicted, saved.predicted)
        assert np.array_equal(found.labels, saved.labels)
        assert (found.classes, found.checksum) == (names, "abc")
        assert {found.predicted.dtype, found.labels.dtype} == {np.dtype(np.int64)}


@pytest.mark.parametrize("count", [10, 256])
def test_a_byte_per_image_and_replica_and_the_same_bytes_again(count: int, tmp_path: Path) -> None:
    names = tuple(f"{number:x}" for number in range(count))
    labels = np.arange(10_000) % 10
    predicted = np.random.default_rng(0).integers(10, size=(6, 10_000))
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        PredictedClasses(predicted, labels, names, 32 * "0").save(file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert 70_000 <= files[0].stat().st_size < 75_000


def test_they_are_those_of_a_file_of_predictions(tmp_path: Path) -> None:
    path = tmp_path / "predictions/tricks/run.safetensors"
    scored(0).save(path)
    found = PredictedClasses.of(path)
    assert found.predicted.tolist() == [[int(np.argmax(image)) for image in replica] for replica in scored(0).scores]
    assert found.labels.tolist() == LABELS.tolist()
    assert (found.classes, found.checksum) == (CLASSES, hashlib.md5(path.read_bytes()).hexdigest())
    assert isinstance(predicted_classes.load(path), Predictions)


def test_comparisons_are_those_of_the_predictions(tmp_path: Path) -> None:
    paths = [tmp_path / f"predictions/tricks/{seed}.safetensors" for seed in range(2)]
    for seed, path in enumerate(paths):
        scored(seed).save(path)
    expected = effects.compare("a", scored(0), "b", scored(1), 0.01)
    first, second = map(PredictedClasses.of, paths)
    assert effects.compare("a", first, "b", second, 0.01) == expected
    assert effects.compare("a", scored(0), "b", second, 0.01) == expected


@pytest.mark.parametrize(
    ("predicted", "labels", "reason"),
    [
        ([[0, 3]], [0, 1], "a class is not one of 0…2"),
        ([[0, -1]], [0, 1], "a class is not one of 0…2"),
        ([[0, 1]], [0, 3], "a class is not one of 0…2"),
        ([[0.0, 1.0]], [0, 1], "a class is not one of 0…2"),
        ([[0, 1]], [0, 1, 2], "the shapes are [1, 2] and [3]"),
        ([0, 1], [0, 1], "the shapes are [2] and [2]"),
        ([[]], [], "the shapes are [1, 0] and [0]"),
    ],
)
def test_what_is_no_prediction_is_refused(predicted: Any, labels: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "predicted_classes/tricks/run.safetensors"
    tensors = {"predicted": np.array(predicted), "labels": np.array(labels)}
    write_tensors(path, tensors, {"classes": CLASSES, "checksum": ""})
    with pytest.raises(UserError) as refused:
        PredictedClasses.load(path)
    assert f"{path} is damaged ({reason}" in str(refused.value)
    assert str(refused.value).endswith("then run `dvc repro predicted_classes@tricks`")


@pytest.mark.parametrize("missing", ["predicted", "labels", "classes", "checksum"])
def test_a_file_without_a_part_is_refused(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "predicted_classes/tricks/run.safetensors"
    with pytest.raises(UserError, match="is missing: run `dvc repro predicted_classes@tricks`"):
        PredictedClasses.load(path)
    tensors = {"predicted": np.array([[0, 1]]), "labels": np.array([0, 1])}
    record = {"classes": CLASSES, "checksum": ""}
    write_tensors(
        path,
        {name: tensor for name, tensor in tensors.items() if name != missing},
        {name: value for name, value in record.items() if name != missing},
    )
    with pytest.raises(UserError, match=f"is damaged .*{missing}"):
        predicted_classes.load(path)
