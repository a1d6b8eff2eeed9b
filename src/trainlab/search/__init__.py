"""Hyperparameter search: its schema, the search itself, and its plots."""
