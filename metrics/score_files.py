"""Read per-image scores of metrics that were computed elsewhere, from a CSV file with columns image, metric and value.

``image`` is the SHA-256 of the picture's file as the study stores it (64 hexadecimal digits), ``metric`` a name of
your choice, ``value`` a number with a decimal point. Rows may come in any order, columns too, and others are ignored.
What contradicts itself or cannot be read is refused with its line; what merely cannot be used is counted.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError

FILE_LIMIT = 200_000_000  # bytes
ROW_LIMIT = 1_000_000
LINE_LIMIT = 10_000  # characters of a row
NAME_LIMIT = 100  # characters of a metric's name
METRIC_LIMIT = 100  # metrics of a file
NAMED = 10  # lines that are named of each kind
COLUMNS = ("image", "metric", "value")
SEPARATORS = (",", ";", "\t")
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NOT_FINITE = re.compile(r"|[+-]?nan|[+-]?inf(inity)?|n/?a|null|none", re.IGNORECASE)


class ScoreFileError(InputError):
    """A file of scores cannot be used; the message names the file, the line and what stands there."""


@dataclass(frozen=True)
class Lines:
    """How many rows are of a kind, and the lines on which the first ``NAMED`` of them begin."""

    count: int = 0
    first: tuple[int, ...] = ()

    def and_line(self, line: int) -> Lines:
        """Return these and one line more."""
        return Lines(self.count + 1, self.first if len(self.first) >= NAMED else (*self.first, line))


@dataclass(frozen=True)
class Scores:
    """What a file says, and what was left out.

    by_metric   the values by metric and by the picture's SHA-256 in small letters; every value is finite
    rows        rows of the file: the values, and those of the three kinds
    repeated    rows that say once more what an earlier row said
    unknown     rows of pictures that are not known
    not_finite  rows whose value is empty, NaN or infinite
    """

    by_metric: dict[str, dict[str, float]]
    rows: int
    repeated: Lines
    unknown: Lines
    not_finite: Lines

    def values(self, metric: str, images: Sequence[str]) -> NDArray[np.float64]:
        """Return a metric's scores of pictures, (N,), NaN where the file has none. Raises ``ScoreFileError``."""
        if metric not in self.by_metric:
            raise ScoreFileError(f"there are no scores of “{metric}”; there are some of {', '.join(self.by_metric)}")
        found = self.by_metric[metric]
        return np.array([found.get(image, math.nan) for image in images], dtype=np.float64)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say in plain sentences which rows were left out, and where the first ones are."""
        kinds = (
            (self.repeated, "repeat an earlier row and count once"),
            (self.unknown, "are of pictures that are not known"),
            (self.not_finite, "have no finite value"),
        )
        return tuple(
            f"{lines.count:,} of {self.rows:,} rows {what}: line {', '.join(map(str, lines.first))}"
            f"{' and others' if lines.count > len(lines.first) else ''}."
            for lines, what in kinds
            if lines.count
        )


def read_scores(path: Path, known: Collection[str] | None = None) -> Scores:
    """Read a CSV file in UTF-8, or in UTF-16 with its mark; comma, semicolon or tab is seen in the header.

    known: SHA-256 of the pictures that may be scored, in small letters; None: any.

    Raises ``ScoreFileError`` for a file that is missing, too large, empty or not in these encodings, a column that is
    missing or named twice, a row of another length, an image that is no SHA-256, a metric without a name or with one
    of more than ``NAME_LIMIT`` characters, a value that is no number, and two values of one metric and picture.
    """
    collected = _Collected(path, None if known is None else frozenset(known))
    rows = _rows(path)
    names = next(rows, (0, []))[1]
    places = _places(path, names)
    for line, cells in rows:
        if len(cells) != len(names):
            raise _refused(path, line, f"has {len(cells)} fields, the header {len(names)}")
        image, metric, value = (cells[place].strip() for place in places)
        collected.add(line, image, metric, value)
    if not collected.rows:
        raise ScoreFileError(f"{path}: holds no scores")
    return Scores(collected.values, collected.rows, collected.repeated, collected.unknown, collected.not_finite)


@dataclass
class _Collected:
    """What has been read so far, and the line of each value."""

    path: Path
    known: frozenset[str] | None
    rows: int = 0
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    lines: dict[str, dict[str, int]] = field(default_factory=dict)
    repeated: Lines = Lines()
    unknown: Lines = Lines()
    not_finite: Lines = Lines()

    def add(self, line: int, image: str, metric: str, value: str) -> None:
        self.rows += 1
        if self.rows > ROW_LIMIT:
            raise _refused(self.path, line, f"is beyond the {ROW_LIMIT:,} rows that are read")
        image = image.lower()
        if not _SHA256.fullmatch(image):
            raise _refused(self.path, line, f"image {_shown(image)} is no SHA-256 of 64 hexadecimal digits")
        self._check_name(line, metric)
        number = self._number(line, value)
        if self.known is not None and image not in self.known:
            self.unknown = self.unknown.and_line(line)
        elif not math.isfinite(number):
            self.not_finite = self.not_finite.and_line(line)
        else:
            self._keep(line, image, metric, number)

    def _check_name(self, line: int, metric: str) -> None:
        if not metric or not metric.isprintable():
            raise _refused(self.path, line, f"metric {_shown(metric)} is no name")
        if len(metric) > NAME_LIMIT:
            raise _refused(self.path, line, f"metric {_shown(metric)} has more than {NAME_LIMIT} characters")

    def _number(self, line: int, value: str) -> float:
        if _NOT_FINITE.fullmatch(value):
            return math.nan
        if not _NUMBER.fullmatch(value):
            hint = "; write decimals with a point" if "," in value else ""
            raise _refused(self.path, line, f"value {_shown(value)} is no number{hint}")
        return float(value)

    def _keep(self, line: int, image: str, metric: str, number: float) -> None:
        if metric not in self.values and len(self.values) >= METRIC_LIMIT:
            raise _refused(
                self.path, line, f"metric {_shown(metric)} is one more than the {METRIC_LIMIT} that are read"
            )
        values, lines = self.values.setdefault(metric, {}), self.lines.setdefault(metric, {})
        earlier = values.setdefault(image, number)
        if earlier != number:
            both = f"{earlier!r} on line {lines[image]} and {number!r} here"
            raise _refused(self.path, line, f"{metric} of {image} has two values, {both}")
        if image in lines:
            self.repeated = self.repeated.and_line(line)
        else:
            lines[image] = line


def _places(path: Path, names: list[str]) -> list[int]:
    """Return where the three columns stand."""
    found = [name.strip().lower() for name in names]
    if not any(found):
        raise ScoreFileError(f"{path}: is empty; its first row names the columns {', '.join(COLUMNS)}")
    for column in COLUMNS:
        if found.count(column) != 1:
            fault = "names the column {} twice" if column in found else "has no column {}"
            shown = ", ".join(_shown(name) for name in found[:10])
            raise ScoreFileError(f"{path}: the header {fault.format(column)}; it has {shown}")
    return [found.index(column) for column in COLUMNS]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty with the line on which each begins, the header first."""
    encoding = _encoding(path)
    separator = _separator(path, encoding)
    feed = _Feed(path, encoding)
    line = 1
    try:
        for cells in csv.reader(feed, delimiter=separator, strict=True):
            if cells:
                yield line, cells
            line, feed.length = feed.number + 1, 0
    except csv.Error as error:
        raise _refused(path, line, str(error)) from error


class _Feed:
    """Lines of a file for the CSV reader; what it may join into one row is bounded."""

    def __init__(self, path: Path, encoding: str) -> None:
        self.path, self.encoding, self.length, self.number = path, encoding, 0, 0

    def __iter__(self) -> Iterator[str]:
        try:
            with self.path.open(encoding=self.encoding, newline="") as file:
                while text := file.readline(LINE_LIMIT + 1):
                    self.number += 1
                    self.length += len(text)
                    if self.length > LINE_LIMIT:
                        what = f"a row has more than {LINE_LIMIT:,} characters; is a quotation mark left open?"
                        raise _refused(self.path, self.number, what)
                    if "\0" in text:
                        raise _refused(self.path, self.number, "holds binary data, no text")
                    yield text
        except UnicodeError as error:
            what = f"is not {self.encoding.removesuffix('-sig').upper()}; save it as UTF-8"
            raise _refused(self.path, _line_of_bad_bytes(self.path, self.encoding), what) from error
        except OSError as error:
            raise ScoreFileError(f"{self.path}: cannot be read ({error.strerror or error})") from error


def _line_of_bad_bytes(path: Path, encoding: str) -> int:
    """Return the line of the first bytes that are not of this encoding; what a reader decodes at once begins before."""
    data = path.read_bytes()
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        text = data[: error.start].decode(encoding, "ignore")
    return text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1


def _encoding(path: Path) -> str:
    """Return the encoding that the file's mark names, else UTF-8."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ScoreFileError(f"{path}: is no file")
        if status.st_size > FILE_LIMIT:
            raise ScoreFileError(f"{path}: has {status.st_size:,} bytes, at most {FILE_LIMIT:,} are read")
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise ScoreFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), "utf-8")


def _separator(path: Path, encoding: str) -> str:
    """Return the separator under which the first line names most of the columns."""
    feed = iter(_Feed(path, encoding))
    head = next((line for line in feed if line.strip()), "")
    cells = {each: {cell.strip(' \r\n"').lower() for cell in head.split(each)} for each in SEPARATORS}
    return max(SEPARATORS, key=lambda each: len(cells[each] & set(COLUMNS)))


def _refused(path: Path, line: int, what: str) -> ScoreFileError:
    return ScoreFileError(f"{path}: line {line}: {what}")


def _shown(text: str) -> str:
    """Return a cell for a message, printable and short."""
    short = text if len(text) <= 40 else f"{text[:39]}…"
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in short)
    return f"“{printable}”"
