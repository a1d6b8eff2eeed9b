"""What a picture shows, read back from matplotlib's objects."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle


def labels(axes: Axes) -> list[object]:
    """Return the labels of the lines."""
    return [line.get_label() for line in axes.lines]


def legend(axes: Axes) -> list[str]:
    """Return the texts of the legend."""
    found = axes.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def texts(axes: Axes) -> list[str]:
    """Return the texts inside the axes, without the spaces around them."""
    return [text.get_text().strip() for text in axes.texts]


def x_of(line: Line2D) -> list[float]:
    """Return the horizontal positions of a line."""
    return [float(value) for value in np.asarray(line.get_xdata())]


def y_of(line: Line2D) -> list[float]:
    """Return the vertical positions of a line."""
    return [float(value) for value in np.asarray(line.get_ydata())]


def widths(axes: Axes) -> list[float]:
    """Return the lengths of horizontal bars."""
    return [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]
