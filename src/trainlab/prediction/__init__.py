"""Use a trained model: predictions for images of any size, and export to other runtimes."""
