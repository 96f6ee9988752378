"""Tell an outage, which ends by itself, from an error of the work: database, broker, disk and connections come back."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from evenhand.errors import InputError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

DATABASE_OUTAGES = (OperationalError, InterfaceError)
SYSTEM_OUTAGES = frozenset(
    {
        errno.ENOSPC,  # the disk is full
        errno.EDQUOT,
        errno.EFBIG,  # a limit of the process on the size of files
        errno.EIO,
        errno.EROFS,
        errno.ESTALE,  # a folder of another machine went away
        errno.ENOTCONN,
        errno.EMFILE,
        errno.ENFILE,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)
PAUSES = (0.1, 0.5, 1.0, 2.0)  # seconds between attempts; the last one repeats


def is_outage(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, is of the database, the disk or a connection.

    An error that a person can mend is none for a refused connection: a hub that cannot be reached may stay so.
    """
    kinds = DATABASE_OUTAGES if isinstance(error, InputError) else (*DATABASE_OUTAGES, ConnectionError, TimeoutError)
    return any(
        isinstance(each, kinds) or (isinstance(each, OSError) and each.errno in SYSTEM_OUTAGES)
        for each in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def insist(action: Callable[[], Result]) -> Result:
    """Run a database action, and again while the database does not answer, for as long as a lease lasts.

    ``action`` must be such that a second run changes nothing more: its first one may have been stored although the
    answer was lost. Inside a transaction nothing is repeated. Raises the last error.
    """
    deadline = time.monotonic() + settings.LEASE_SECONDS
    attempt = 0
    while True:
        try:
            return action()
        except DATABASE_OUTAGES as error:
            pause = PAUSES[min(attempt, len(PAUSES) - 1)]
            if connection.in_atomic_block or time.monotonic() + pause > deadline:
                raise
            logger.warning("the database does not answer (%s); trying again", str(error).strip())
            connection.close()
            time.sleep(pause)
            attempt += 1
