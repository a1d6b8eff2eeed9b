"""What a user did wrong, said in one line."""


class UserError(Exception):
    """A mistake that the user can mend: the message says what was wrong, where, and the next step.

    :func:`trainlab.cli.run_stage` prints it without a traceback and exits with code 1.
    """
