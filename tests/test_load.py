"""``trainlab.load``: predictions in Python."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import trainlab
from pages import PROJECT
from small import scored
from trained import small_model, trained
from trainlab.errors import UserError
from trainlab.evaluation.calibration import probabilities
from trainlab.prediction.classifier import Classifier

MODEL = small_model()
IMAGES = scored()
PIXELS = IMAGES.images.transpose(0, 2, 3, 1)  # [images, height, width, channels]


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    MODEL.save(tmp_path / "small.safetensors")
    return trainlab.load(str(tmp_path / "small.safetensors"))


def photo(width: int = 50, height: int = 37) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_probabilities_are_the_mean_over_the_replicas_and_disagreement_counts_their_votes(
    classifier: Classifier,
) -> None:
    shares = probabilities(MODEL.scores(IMAGES))
    predicted = classifier.predict(PIXELS)
    assert predicted.classes == MODEL.classes
    assert np.array_equal(predicted.probabilities, shares.mean(0))
    best = shares.mean(0).argmax(1)
    assert predicted.labels == [MODEL.classes[index] for index in best]
    votes = [[int(replica[image].argmax()) for replica in shares] for image in range(len(PIXELS))]
    expected = [sum(vote != mean for vote in of_image) / 3 for of_image, mean in zip(votes, best, strict=True)]
    assert predicted.disagreement.tolist() == pytest.approx(expected)
    assert len(set(expected)) > 1
    for first in (1, 2):
        turned = replace(MODEL, weights=[*MODEL.weights[first:], *MODEL.weights[:first]])
        assert Classifier(turned).predict(PIXELS).disagreement.tolist() == pytest.approx(expected)


def test_top_is_sorted_and_the_first_of_equal_classes_comes_first() -> None:
    from trainlab.prediction.classifier import Prediction

    predicted = Prediction(["a", "b", "c"], np.array([[0.2, 0.6, 0.2], [0.4, 0.2, 0.4]]), np.zeros(2))
    assert predicted.top(2) == [[("b", 0.6), ("a", 0.2)], [("a", 0.4), ("c", 0.4)]]
    assert [len(of_image) for of_image in predicted.top(9)] == [3, 3]
    assert predicted.labels == ["b", "a"]


def test_files_images_of_pillow_contents_and_arrays_are_the_same(classifier: Classifier, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    photo().save(file)
    array = np.asarray(photo())[None]
    expected = classifier.predict(array).probabilities
    with Image.open(file) as opened:
        one: list[Any] = [file, str(file), photo(), opened, file.read_bytes()]
        for images in (*one, [file, str(file)], (opened, photo())):
            found = classifier.predict(images).probabilities
            assert len(found) == (len(images) if isinstance(images, list | tuple) else 1)
            np.testing.assert_allclose(found, expected.repeat(len(found), 0), rtol=1e-6)


def test_no_images_are_no_predictions(classifier: Classifier) -> None:
    nothing: list[Any] = [[], np.zeros((0, 20, 20, 3), np.uint8), np.zeros((0, 9, 9, 3), np.uint8)]
    for images in nothing:
        predicted = classifier.predict(images)
        assert (predicted.probabilities.shape, predicted.disagreement.shape, predicted.labels) == ((0, 4), (0,), [])


def test_a_single_replica_cannot_disagree() -> None:
    assert np.isnan(Classifier(small_model(replicas=1)).predict(PIXELS).disagreement).all()


@pytest.mark.parametrize("wrong", [PIXELS / 255, PIXELS[0], PIXELS[..., :1], IMAGES.images])
def test_an_array_of_another_kind_is_a_value_error(classifier: Classifier, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"instead of uint8\[n, height, width, 3\]"):
        classifier.predict(wrong)


def test_a_model_of_other_images_takes_arrays_of_their_shape_alone(tmp_path: Path) -> None:
    gray = replace(IMAGES, images=IMAGES.images[:, :1], mean=[0.3], std=[0.2], mean_image=IMAGES.mean_image[:1])
    model = replace(
        trained(model="tf_cnn"), shape=(1, 20, 20), mean=gray.mean, std=gray.std, mean_image=gray.mean_image
    )
    weights = {name: tensor[:, :1] if name == "conv1.weight" else tensor for name, tensor in model.weights[0].items()}
    classifier = Classifier(replace(model, weights=[weights]))
    assert classifier.predict(PIXELS[..., :1]).probabilities.shape == (12, 4)
    photo().save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"this model takes images of 20×20 pixels and channels: 1"):
        classifier.predict([tmp_path / "photo.png"])
    with pytest.raises(ValueError, match="only square RGB images are"):
        classifier.predict(np.zeros((1, 30, 30, 1), np.uint8))


def test_an_image_that_cannot_be_read_is_named(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.png cannot be read \(No such file or directory\)$"):
        classifier.predict([photo(), tmp_path / "missing.png"])
    with pytest.raises(UserError, match=r"^image 1 is damaged or not a PNG, JPEG or WebP image$"):
        classifier.predict([photo(), b"nothing"])
    with pytest.raises(UserError, match=r"^image 0 is too large or too long \(the limit is 89,478,485 pixels, "):
        classifier.predict(Image.new("1", (90_000_000, 1)))


def test_an_error_keeps_no_image_in_memory(classifier: Classifier) -> None:
    [error] = classifier.decoder.decode_all([b"nothing"])
    assert isinstance(error, UserError)
    assert [error.__traceback__, error.__cause__, error.__context__] == [None, None, None]


def test_threads_and_random_numbers_of_the_caller_are_unchanged(classifier: Classifier) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    state = torch.random.get_rng_state()
    classifier.predict(PIXELS)
    assert torch.get_num_threads() == before + 1
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.set_num_threads(before)


def test_importing_the_package_imports_nothing_slow() -> None:
    code = "import sys, trainlab; print(trainlab.load.__name__, *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PROJECT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    name, *modules = done.stdout.split()
    assert name == "load"
    assert {module for module in modules if module.startswith("trainlab")} == {"trainlab"}
    assert not {"numpy", "torch", "PIL"} & set(modules)
