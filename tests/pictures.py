"""Compare pictures with the committed ones, pixel by pixel."""

import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from pages import PROJECT

[LOCKED] = re.findall(r"^matplotlib==(\S+)", (PROJECT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
with_locked_matplotlib = pytest.mark.skipif(
    (matplotlib.__version__, sys.platform) != (LOCKED, "linux"), reason="another matplotlib may set other pixels"
)


def check(drawn: Path, committed: Path, expected: set[str]) -> None:
    """Check that a directory has these pictures, and that they are those of another directory."""
    assert {path.name for path in drawn.iterdir()} == expected
    for path in drawn.iterdir():
        with Image.open(path) as ours, Image.open(committed / path.name) as theirs:
            assert ours.size == theirs.size, path.name
            assert np.array_equal(np.asarray(ours), np.asarray(theirs)), path.name
