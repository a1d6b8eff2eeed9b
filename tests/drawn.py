"""What a picture shows, read back from matplotlib's objects."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox, BboxBase


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


def cut_off(figure: Figure) -> list[str]:
    """Return the visible texts of a figure, which was drawn, that extend beyond it."""
    return [text for text, box, _ in _boxes(figure) if not _inside(box, figure.bbox)]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Return the pairs of horizontal texts of a figure, which was drawn, that overlap by more than two pixels."""
    texts = [(text, box.padded(-1)) for text, box, angle in _boxes(figure) if angle == 0]
    low, high = (np.array([getattr(box, end) for _, box in texts]) for end in ("min", "max"))
    meet = (np.maximum(low[:, None], low) <= np.minimum(high[:, None], high)).all(2)  # all pairs at once: quicker
    return [(texts[i][0], texts[j][0]) for i, j in np.argwhere(np.triu(meet, 1))]


def _boxes(figure: Figure) -> list[tuple[str, Bbox, float]]:
    """Return each text that is drawn, with its box and its rotation in degrees."""
    absent = {text for axes in figure.axes for text in _absent(axes)}
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text not in absent]
    return [(t.get_text(), t.get_window_extent(), t.get_rotation()) for t in texts if t.get_visible() and t.get_text()]


def _absent(axes: Axes) -> Iterator[Artist]:
    """Yield the texts of invisible axes, and tick labels outside of the limits of their axis, which are not drawn."""
    if not axes.get_visible():
        yield from axes.findobj(Text)
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def _inside(box: BboxBase, page: BboxBase) -> bool:
    return bool(page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1 and page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1)


def contrast(color: Any, background: Any = "white") -> float:
    """Return the contrast ratio of two colors, from 1 to 21, as the Web Content Accessibility Guidelines 2.2 define it."""
    dark, light = sorted(_luminance(of_color) for of_color in (color, background))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Any) -> float:
    shares = np.asarray(to_rgb(color))
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
