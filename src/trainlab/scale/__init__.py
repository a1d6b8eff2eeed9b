"""The stages of a DVC pipeline, side by side."""
