"""Archives that no program writes."""

from __future__ import annotations


def without_name(archive: bytes) -> bytes:
    """Return a ZIP archive whose only file, of a name of one character, has none: the name becomes an extra field."""
    data = bytearray(archive)
    for mark, at in ((b"PK\x03\x04", 26), (b"PK\x01\x02", 28)):  # lengths of the name and of the extra field
        place = data.rindex(mark) + at
        data[place : place + 4] = bytes((0, 0, 1, 0))
    return bytes(data)
