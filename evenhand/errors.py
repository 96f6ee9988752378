"""The one error for what a person can mend."""

from __future__ import annotations


class InputError(ValueError):
    """Something that was given cannot be used; the message says what, and how to mend it.

    Pages and commands show it, and work that raises it is not tried again. Every other exception is a fault of the
    program or of the machine: it is logged with its traceback, and the work is tried again.
    """
