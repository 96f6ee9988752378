"""A database of a benchmark's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def database(own_name: str) -> Iterator[None]:
    """Create an empty database of that name on the server in use; drop it at the end."""
    from django.db import connection

    connection.settings_dict["TEST"]["NAME"] = own_name
    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
