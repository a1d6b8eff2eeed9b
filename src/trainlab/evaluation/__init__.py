"""Score predictions, compare runs, and draw both."""
