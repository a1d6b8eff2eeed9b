"""Errors that a user can correct."""


class UserError(Exception):
    """A mistake that the user can correct: the message says what is wrong, where, and what to do next.

    :func:`trainlab.cli.run_app` prints it without a traceback and exits with the code :attr:`code`.
    """

    code = 1


class Stopped(UserError):
    """A training was asked to stop from outside, by SIGTERM; its state is in checkpoints."""

    code = 128 + 15
