"""trainlab: train classifiers under named tricks and objectives, and compare them so that a difference can be believed."""

__version__ = "0.2.0"
