"""Note which study, stage and request the current code is about, for every line that it logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_ids: ContextVar[Mapping[str, Any]] = ContextVar("ids of log lines", default={})  # noqa: B039  (is never changed)


def current() -> Mapping[str, Any]:
    """Return the ids that are known here, by name."""
    return _ids.get()


def note(**ids: Any) -> None:
    """Add ids until the surrounding ``noted`` ends; nothing outside of one, where nobody would remove them."""
    if _ids.get():
        _ids.set({**_ids.get(), **ids})


@contextmanager
def noted(**ids: Any) -> Iterator[None]:
    """Let lines that are logged inside bear these ids, too."""
    token = _ids.set({**_ids.get(), **ids})
    try:
        yield
    finally:
        _ids.reset(token)
