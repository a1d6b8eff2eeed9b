"""The source `digits`: the handwritten digits that are included in scikit-learn; needs no network."""

import gzip
import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np

from trainlab.data.stored import Split
from trainlab.errors import UserError

_FILE = "digits.csv.gz"
_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"


class Digits:
    """The data set of ``sklearn.datasets.load_digits``: 1,797 images, 10 classes, 8x8 pixels, values 0 to 16.

    Every fifth image of each class (its fifth, tenth, ...) is a test image. Images are enlarged to 32x32 by repeating each
    pixel four times along both axes. The three color channels are equal; values are scaled to 0 to 255.

    References
    ----------
    Alpaydin and Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998.
    """

    def fetch(self, directory: Path) -> None:
        """Copy the data file of the installed scikit-learn to ``directory``.

        Raises
        ------
        UserError
            If the file is missing or damaged.
        """
        # Without `import sklearn`, which takes longer than the rest of the stage.
        source = Path(str(metadata.distribution("scikit-learn").locate_file(f"sklearn/datasets/data/{_FILE}")))
        content = source.read_bytes() if source.is_file() else b""
        if hashlib.sha256(content).hexdigest() != _SHA256:
            raise UserError(f"{source} is missing or damaged: install scikit-learn again (`make setup`)")
        (directory / _FILE).write_bytes(content)

    def read(self, directory: Path) -> tuple[Split, Split, list[str]]:
        """Return training images, test images and class names.

        Raises
        ------
        UserError
            If the file is missing or damaged.
        """
        file = directory / _FILE
        content = file.read_bytes() if file.is_file() else b""
        if hashlib.sha256(content).hexdigest() != _SHA256:
            raise UserError(f"{file} is missing or damaged: run `dvc repro download`")
        table = np.loadtxt(gzip.decompress(content).decode().splitlines(), dtype=np.int64, delimiter=",")
        small, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
        scaled = ((small * 255 + 8) // 16).astype(np.uint8)  # rounded to the nearest integer
        large = scaled.repeat(4, axis=1).repeat(4, axis=2)
        images = np.repeat(large[:, None], 3, axis=1)
        test = _every_fifth_of_each_class(labels)
        return Split(images[~test], labels[~test]), Split(images[test], labels[test]), [str(d) for d in range(10)]


def _every_fifth_of_each_class(labels: np.ndarray) -> np.ndarray:
    """Return which images are test images, ``[images]``, bool."""
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[4::5]] = True
    return chosen
