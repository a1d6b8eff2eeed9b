"""Errors that a user can correct."""


class UserError(Exception):
    """A mistake that the user can correct: the message says what is wrong, where, and what to do next.

    :func:`trainlab.cli.run_app` prints it without a traceback and exits with code 1.
    """
