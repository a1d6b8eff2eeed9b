"""Training: the loop, checks before it, the model file, and progress."""
