"""trainlab: train classifiers under named tricks and objectives, and compare them so that a difference can be believed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from trainlab.prediction.classifier import Classifier

__version__ = "0.2.0"


def load(path: "str | os.PathLike[str]", *, device: str = "auto") -> "Classifier":
    """Read a model file of a trained run, to predict with it.

    Parameters
    ----------
    path
        The file, such as ``models/dropout_conv.safetensors``. Nothing else is needed.
    device
        `auto` (a GPU if there is one), `cpu` or `cuda`.

    Returns
    -------
    Classifier
        Its :meth:`~trainlab.prediction.classifier.Classifier.predict` takes images.

    Raises
    ------
    UserError
        If the file is missing, damaged, or not a model file of trainlab; or if the device is `cuda` and there is no GPU.

    Examples
    --------
    >>> predicted = trainlab.load("models/dropout_conv.safetensors").predict(["cat.jpg", "ship.png"])
    >>> predicted.labels
    ['cat', 'ship']
    """
    # Here, because every stage imports this package, and most of them do without torch.
    from pathlib import Path

    from trainlab.prediction import classifier

    return classifier.load(Path(path), device)
