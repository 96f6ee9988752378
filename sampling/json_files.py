"""Read prompts from JSON: a list, COCO's annotations, or one value a line; nesting and lengths are bounded."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import ijson.backends.python as ijson  # the C parser silently replaces half of a surrogate pair with “?”
from ijson.common import JSONError

from evenhand.sampling.columns import columns_of
from evenhand.sampling.encodings import encoding_error, encoding_of, encoding_title, lines_of
from evenhand.sampling.reading import LINE_LIMIT, Found, PromptFileError, Reading, Row, Rows, printable

ANNOTATIONS = "annotations"  # the key of COCO's captions
DEPTH_LIMIT = 32  # brackets within brackets
# a string, or one that the piece cuts off (group 1); possessive, so that no file makes it slow
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|(\\?\Z))', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")

Value = tuple[str, str, Any]  # place, number, value


def json_lines(source: Path, reading: Reading) -> Rows:
    """Return the rows of a file with one object or one string a line."""
    encoding = encoding_of(source, reading.encoding)

    def values() -> Iterator[Value]:
        for number, line in enumerate(lines_of(source, encoding), 1):
            if line.strip():
                try:
                    if line.count("[") + line.count("{") > DEPTH_LIMIT:
                        _Bounds().take(line.encode("utf-8", "replace"))
                    yield f"line {number}", str(number), json.loads(line)
                except ValueError as error:
                    raise PromptFileError(f"{source}: line {number}: is not JSON ({error})") from error

    return _rows(source, "JSON lines", encoding, values(), reading)


def json_file(source: Path, reading: Reading) -> Rows:
    """Return the rows of COCO's captions in the order of the file, or of a plain list of prompts or of objects."""
    encoding = encoding_of(source, reading.encoding)
    return _rows(source, "JSON", encoding, _streamed(source, encoding), reading)


def _streamed(source: Path, encoding: str) -> Iterator[Value]:
    try:
        with source.open(encoding=encoding, newline="") as text:
            name, entries = _entries(source, ijson.parse(_Guarded(text), use_float=True))
            for i, entry in enumerate(entries):
                yield f"{name}[{i}]", str(i), entry
    except OSError as error:
        raise PromptFileError(f"{source}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise encoding_error(source, encoding, error) from error
    except (JSONError, ValueError, RecursionError) as error:
        if isinstance(error, PromptFileError):
            raise
        raise PromptFileError(f"{source}: is not JSON ({' '.join(str(error).split())})") from error


def _entries(source: Path, events: Iterator[tuple[str, str, Any]]) -> tuple[str, Iterator[Any]]:
    """Return the name of the list of prompts, and an iterator over its entries."""
    kind = next(events)[1]
    if kind == "start_array":
        return "prompts", ijson.items(events, "item")
    if kind == "start_map" and any(each[:2] == (ANNOTATIONS, "start_array") for each in events):
        return ANNOTATIONS, ijson.items(events, f"{ANNOTATIONS}.item")
    raise PromptFileError(f"{source}: is neither a list of prompts nor COCO's object with a list “{ANNOTATIONS}”")


def _rows(source: Path, kind: str, encoding: str, values: Iterator[Value], reading: Reading) -> Rows:
    first = next(values, None)
    if first is None:
        raise PromptFileError(f"{source}: holds no prompts")
    values = chain([first], values)
    title = encoding_title(encoding)
    if isinstance(first[2], str) and reading.column is None:
        return Rows(Found(kind, title), _texts(source, values))
    if not isinstance(first[2], dict):
        raise _not_an_object(source, first)
    names = tuple(first[2])
    columns = columns_of(source, names, reading)
    found = Found(
        kind, title, columns=names, column=columns.prompt, id_column=columns.identity, seed_column=columns.seed
    )
    return Rows(found, _objects(source, values, columns.prompt, columns.identity, columns.seed))


def _texts(source: Path, values: Iterable[Value]) -> Iterator[Row]:
    for place, number, value in values:
        if not isinstance(value, str):
            raise _not_an_object(source, (place, number, value))
        yield Row(place, value, number)


def _objects(
    source: Path, values: Iterable[Value], prompt: str, identity: str | None, seed: str | None
) -> Iterator[Row]:
    """Yield the rows of objects; the first one has decided which fields hold prompt, id and seed."""
    for place, number, value in values:
        if not isinstance(value, dict):
            raise _not_an_object(source, (place, number, value))
        text = value.get(prompt)
        if text is not None and not isinstance(text, str):
            raise PromptFileError(f"{source}: {place}: there is no text under {printable(prompt, 40)!r}")
        if text is None and prompt not in value:
            raise PromptFileError(f"{source}: {place}: there is nothing under {printable(prompt, 40)!r}")
        own_id = None if identity is None else value.get(identity)
        own_seed = None if seed is None else value.get(seed)
        yield Row(
            place,
            text or "",
            number,
            None if own_id is None else _scalar(own_id),
            "" if own_seed is None else _scalar(own_seed),
        )


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _not_an_object(source: Path, value: Value) -> PromptFileError:
    shown = printable(json.dumps(value[2]), 60)
    return PromptFileError(f"{source}: {value[0]}: is no object with a prompt, but {shown}")


# ------------------------------------------------------------------------------ bounds


class _Bounds:
    """Follows JSON in pieces: how deep its brackets lie, and how long a string, a number or an entry has become.

    ``take`` raises ValueError beyond a limit, before a parser has seen the piece. Lengths are counted by pieces.
    """

    def __init__(self) -> None:
        self.depth, self.base = 0, 0  # base: depth of the list of entries, 1 or, within COCO's object, 2
        self.open_string = b""
        self.entry = self.gap = 0  # bytes since the list was left, and since anything but a number was there

    def take(self, piece: bytes) -> None:
        data, self.open_string = self.open_string + piece, b""
        last = None
        for last in _STRING.finditer(data):  # noqa: B007  (the last one is what matters)
            pass
        if last is not None and last[1] is not None:
            self.open_string = last[0]
        brackets = _STRING.sub(b"", data)
        self.gap = 0 if last is not None or b"," in brackets else self.gap + len(piece)
        lowest = self.depth
        for bracket in brackets.translate(None, _NO_BRACKETS):
            if bracket in b"[{":
                self.base = self.base or (1 if bracket == b"["[0] else 2)
                self.depth += 1
                if self.depth > DEPTH_LIMIT:
                    raise ValueError(f"brackets lie more than {DEPTH_LIMIT} deep")
            else:
                self.depth -= 1
                lowest = min(lowest, self.depth)
        self.entry = 0 if lowest <= self.base else self.entry + len(piece)
        if max(self.entry, self.gap, len(self.open_string)) > LINE_LIMIT:
            raise ValueError(f"a value is longer than {LINE_LIMIT:,} bytes")


class _Guarded:
    """A text as bytes of UTF-8 for the parser, which sees no piece before its nesting and lengths are checked."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._take: Callable[[bytes], None] = _Bounds().take

    def read(self, size: int = -1) -> bytes:
        """Return the next piece."""
        if size == 0:
            return b""
        piece = self._text.read(16_384 if size < 0 else size // 4 or 1).encode()
        self._take(piece)
        return piece
