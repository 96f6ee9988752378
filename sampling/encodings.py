"""Find out a text file's encoding, refuse what is no text, and read lines of a bounded length."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from evenhand.sampling.reading import FILE_LIMIT, LINE_LIMIT, EncodingError, PromptFileError

# what may be asked for, and Python's names of it
ENCODINGS = {
    "utf-8": ("UTF-8", "utf-8-sig"),
    "utf-16": ("UTF-16", "utf-16"),
    "windows-1252": ("Windows-1252 (Western Europe)", "cp1252"),
    "windows-1250": ("Windows-1250 (Central Europe)", "cp1250"),
    "windows-1251": ("Windows-1251 (Cyrillic)", "cp1251"),
    "mac-roman": ("Mac Roman", "mac_roman"),
    "gb18030": ("GB 18030 (Chinese)", "gb18030"),
    "shift-jis": ("Shift JIS (Japanese)", "cp932"),
    "euc-kr": ("EUC-KR (Korean)", "cp949"),
}
GUESS = "windows-1252"  # what a Western text that is not UTF-8 most often is
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_BINARY = {
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"\xd0\xcf\x11\xe0": "an Office document of the older kind",
    b"SQLite format 3": "an SQLite database",
    b"\x7fELF": "a program",
    b"ARROW1": "an Arrow file",
}
_HEAD = 8192  # bytes that are looked at


def encoding_of(source: Path, asked: str | None = None) -> str:
    """Return Python's name of a text file's encoding: the one asked for, by its mark, or UTF-8.

    Raises ``PromptFileError`` for a file that is missing, too large or no text.
    """
    head = _head(source)
    mark = next((mark for mark in _MARKS if head.startswith(mark)), None)
    if mark is None and (kind := next((kind for magic, kind in _BINARY.items() if head.startswith(magic)), None)):
        raise PromptFileError(f"{source}: is {kind}, no text")
    unmarked = _utf16_without_mark(head) if mark is None else None
    if mark is None and unmarked is None and head.count(0) > max(8, len(head) // 50):
        raise PromptFileError(f"{source}: holds binary data, no text")
    if asked is not None:
        if asked not in ENCODINGS:
            raise PromptFileError(f"{source}: there is no encoding “{asked}”; known are {', '.join(ENCODINGS)}")
        return unmarked if asked == "utf-16" and unmarked else ENCODINGS[asked][1]
    return _MARKS[mark] if mark else unmarked or "utf-8-sig"


def encoding_title(name: str) -> str:
    """Return the name of an encoding for people, from Python's."""
    titles = {python: title for title, python in ENCODINGS.values()}
    return titles.get(name, name.upper())


def lines_of(source: Path, encoding: str) -> Iterator[str]:
    r"""Yield lines with their ends (``\n``, ``\r\n`` or ``\r``); an error names its line.

    Raises ``EncodingError`` where the bytes are not of this encoding, ``PromptFileError`` for too long a line.
    """
    number = 0
    try:
        with source.open(encoding=encoding, newline="") as handle:
            while line := handle.readline(LINE_LIMIT + 1):
                number += 1
                if len(line) > LINE_LIMIT:
                    raise PromptFileError(f"{source}: line {number}: has more than {LINE_LIMIT:,} characters")
                yield line
    except OSError as error:
        raise PromptFileError(f"{source}: cannot be read ({error.strerror or error})") from error
    except UnicodeError as error:
        raise encoding_error(source, encoding, error) from error


def encoding_error(source: Path, encoding: str, error: UnicodeError) -> EncodingError:
    """Return the error that names the line of the first bytes that are not of this encoding."""
    reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
    place = f"line {_line_of_bad_bytes(source, encoding)}"
    return EncodingError(f"{source}: {place}: is not {encoding_title(encoding)} ({reason}); name its encoding")


def _head(source: Path) -> bytes:
    try:
        size = source.stat().st_size
        with source.open("rb") as handle:
            head = handle.read(_HEAD)
    except OSError as error:
        raise PromptFileError(f"{source}: cannot be read ({error.strerror or error})") from error
    if size > FILE_LIMIT:
        raise PromptFileError(f"{source}: has {size:,} bytes, at most {FILE_LIMIT:,} are read")
    return head


def _utf16_without_mark(head: bytes) -> str | None:
    """Return the byte order of what looks like UTF-16 of mostly Latin letters, else None."""
    even, odd, half = head[::2].count(0), head[1::2].count(0), len(head) // 2
    if half < 4:
        return None
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else None


def _line_of_bad_bytes(source: Path, encoding: str) -> int:
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    line = 1
    with source.open("rb") as handle:
        while chunk := handle.read(65_536):
            try:
                line += decoder.decode(chunk).count("\n")
            except UnicodeError as error:
                if isinstance(error, UnicodeDecodeError):
                    good = error.object[: error.start].decode(encoding, "ignore")
                    line += io.IncrementalNewlineDecoder(None, translate=True).decode(good, final=True).count("\n")
                return line
    return line  # the file ends within a character
