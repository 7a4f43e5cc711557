"""The one kind of error that a user can cause."""


class InputError(ValueError):
    """Something handed in (argument, configuration, file) cannot be used.

    The message is one line that says what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2.
    """
