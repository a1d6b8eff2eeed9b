"""The source `digits`, compared with scikit-learn's `load_digits`."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from trainlab.data.sources.digits import Digits
from trainlab.errors import UserError


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("raw")
    Digits().fetch(directory)
    return directory


def test_every_fifth_image_of_each_class_is_a_test_image(raw: Path) -> None:
    train, test, classes = Digits().read(raw)
    official = load_digits()
    where: dict[str, list[int]] = {"train": [], "test": []}
    seen = [0] * 10
    for index, label in enumerate(official.target):
        seen[label] += 1
        where["test" if seen[label] % 5 == 0 else "train"].append(index)
    for split, name in ((train, "train"), (test, "test")):
        np.testing.assert_array_equal(split.labels, official.target[where[name]])
        small = split.images[:, 0, ::4, ::4]
        np.testing.assert_array_equal(np.round(small / 255 * 16), official.images[where[name]])
    assert classes == list("0123456789")
    assert (len(train.labels), len(test.labels)) == (1442, 355)


def test_pixels_are_repeated_without_smoothing(raw: Path) -> None:
    images = Digits().read(raw)[0].images
    assert images.shape[1:] == (3, 32, 32)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    for row in range(4):
        for column in range(4):
            np.testing.assert_array_equal(images[:, :, row::4, column::4], images[:, :1, ::4, ::4].repeat(3, axis=1))


def test_a_changed_or_missing_file_is_an_error(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"digits\.csv\.gz is missing or damaged: run `dvc repro download`$"):
        Digits().read(tmp_path)
    content = bytearray((raw / "digits.csv.gz").read_bytes())
    content[1000] ^= 1
    (tmp_path / "digits.csv.gz").write_bytes(content)
    with pytest.raises(UserError, match="missing or damaged"):
        Digits().read(tmp_path)


def test_a_damaged_installation_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trainlab.data.sources.digits._SHA256", "0")
    with pytest.raises(UserError, match=r"install scikit-learn again"):
        Digits().fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
