"""Read prompts from Excel workbooks, Parquet files, folders and ZIP archives of one text a file.

openpyxl and pyarrow are optional (``pip install "evenhand[tables]"``).
"""

from __future__ import annotations

import datetime
import re
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from evenhand.errors import is_machine_fault
from evenhand.sampling.columns import columns_of
from evenhand.sampling.reading import (
    COLUMN_LIMIT,
    FILE_LIMIT,
    PROMPT_LIMIT,
    ROW_LIMIT,
    Found,
    PromptFileError,
    Reading,
    Row,
    Rows,
)
from evenhand.sampling.tables import Record, rows_of_records

WORKBOOK_LIMIT = 64_000_000  # bytes of a workbook's parts, unpacked: its reader holds all strings in memory
DIRECTORY_LIMIT = 8_000_000  # bytes of an archive's list of files, some 80,000 of them
TEXT_BYTES = 4 * PROMPT_LIMIT + 4
TEXT_SUFFIXES = (".txt", ".text", ".caption")
_NUMBERS = re.compile(r"(\d+)")

# ------------------------------------------------------------------------------ Excel


def workbook(source: Path, reading: Reading) -> Rows:
    """Return the rows of a workbook's first sheet, whose first row with a value names the columns."""
    try:
        import openpyxl
    except ImportError as error:
        raise _missing(source, "an Excel workbook", "openpyxl") from error
    with _opened_archive(source, "an Excel workbook", WORKBOOK_LIMIT):
        pass
    with _reader_errors(source, "an Excel workbook"):
        book = openpyxl.load_workbook(source, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # some programs write wrong ones
    records = _sheet_records(source, book, sheet)
    notes = (
        f"Sheet “{sheet.title}”" + (f", the first of {len(book.worksheets)}." if len(book.worksheets) > 1 else "."),
    )
    return _columned(source, "Excel workbook", records, reading, notes, "row")


def _sheet_records(source: Path, book: Any, sheet: Any) -> Iterator[Record]:
    width = 0
    try:
        with _reader_errors(source, "an Excel workbook"):
            for number, cells in enumerate(sheet.iter_rows(values_only=True, max_col=COLUMN_LIMIT + 1), 1):
                values = [_cell(value) for value in cells]
                while values and not values[-1]:
                    values.pop()
                if not values:
                    continue
                width = width or len(values)
                yield number, values + [""] * (width - len(values))
    finally:
        book.close()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return str(int(value))
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _columned(
    source: Path, kind: str, records: Iterator[Record], reading: Reading, notes: tuple[str, ...], unit: str
) -> Rows:
    first = next(records, None)
    if first is None:
        raise PromptFileError(f"{source}: holds no prompts")
    header = reading.header is not False
    names = tuple(cell.strip() if header else f"column {i}" for i, cell in enumerate(first[1], 1))
    columns = columns_of(source, names, reading)
    found = Found(
        kind,
        header=header,
        columns=names,
        column=columns.prompt,
        id_column=columns.identity,
        seed_column=columns.seed,
        notes=notes,
    )

    def all_records() -> Iterator[Record]:
        if not header:
            yield first
        yield from records

    return Rows(found, rows_of_records(source, names, columns, all_records(), unit))


# ------------------------------------------------------------------------------ Parquet


def parquet(source: Path, reading: Reading) -> Rows:
    """Return the rows of a Parquet file, of which only the columns in use are read."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise _missing(source, "a Parquet file", "pyarrow") from error
    with _reader_errors(source, "a Parquet file"):
        with source.open("rb") as handle:
            if handle.read(4) != b"PAR1":
                raise PromptFileError(f"{source}: is no Parquet file")
        file = pyarrow.parquet.ParquetFile(source)
        names = tuple(file.schema_arrow.names)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    if file.metadata.num_rows > ROW_LIMIT:
        raise PromptFileError(f"{source}: has {file.metadata.num_rows:,} rows, at most {ROW_LIMIT:,} are read")
    if size > FILE_LIMIT:
        raise PromptFileError(f"{source}: unpacks to {size:,} bytes, at most {FILE_LIMIT:,} are read")
    columns = columns_of(source, names, reading)
    if not _is_text(file.schema_arrow.field(columns.prompt).type):
        kind = file.schema_arrow.field(columns.prompt).type
        raise PromptFileError(f"{source}: the column {columns.prompt!r} holds no text, but {kind}")
    used = tuple(name for name in columns if name is not None)
    found = Found("Parquet file", columns=names, column=used[0], id_column=columns.identity, seed_column=columns.seed)
    file.close()
    return Rows(found, rows_of_records(source, used, columns, _parquet_records(source, used), "row"))


def _parquet_records(source: Path, used: tuple[str, ...]) -> Iterator[Record]:
    import pyarrow.compute
    import pyarrow.parquet

    number = 0
    with _reader_errors(source, "a Parquet file"):
        # texts stay in their dictionary, so that one long text repeated in every row takes no more memory than once
        file = pyarrow.parquet.ParquetFile(source, read_dictionary=list(used))
        for batch in file.iter_batches(batch_size=1024, columns=list(used)):
            lists = []
            for name in used:
                column = batch.column(name)
                if pyarrow.types.is_dictionary(column.type) and _is_text(column.type.value_type):
                    longest = pyarrow.compute.max(pyarrow.compute.binary_length(column.dictionary)).as_py() or 0
                    if longest > 100 * PROMPT_LIMIT:
                        raise PromptFileError(f"{source}: a value of {longest:,} bytes stands under {name!r}")
                lists.append(column.to_pylist())
            for values in zip(*lists, strict=True):
                number += 1
                yield number, [_cell(value) for value in values]


def _is_text(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)


# ------------------------------------------------------------------------------ one text a file


def folder(source: Path, _reading: Reading) -> Rows:
    """Return the texts of a folder's files, in the order of their names; the name without its ending is the id."""
    paths = sorted((path for path in source.iterdir() if _is_text_name(path.name)), key=lambda path: _order(path.name))
    if not paths:
        raise PromptFileError(f"{source}: holds no file that ends in {', '.join(TEXT_SUFFIXES)}")
    if len(paths) > ROW_LIMIT:
        raise PromptFileError(f"{source}: holds {len(paths):,} files, at most {ROW_LIMIT:,} are read")

    def rows() -> Iterator[Row]:
        for path in paths:
            try:
                yield _text_row(source, path.name, path.open("rb"))
            except OSError as error:
                raise PromptFileError(f"{source}: {path.name}: cannot be read ({error.strerror or error})") from error

    return Rows(Found("folder of texts", "UTF-8"), rows())


def archive(source: Path, _reading: Reading) -> Rows:
    """Return the texts of a ZIP archive's files, as ``folder`` does; nothing is unpacked to the disk."""
    opened = _opened_archive(source, "a ZIP archive", FILE_LIMIT)
    with opened as checked:
        entries = checked.infolist()
        if not all(PurePosixPath(each.filename.replace("\\", "/")).parts for each in entries):
            raise PromptFileError(f"{source}: holds a file without a name")
        members = [each for each in entries if not each.is_dir()]
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
                raise PromptFileError(f"{source}: the path “{member.filename}” leads out of the archive")
            if member.flag_bits & 1:
                raise PromptFileError(f"{source}: is encrypted")
    texts = [each for each in members if not _is_hidden(each.filename)]
    other = next((each.filename for each in texts if not _is_text_name(PurePosixPath(each.filename).name)), None)
    if other is not None:
        message = "an archive may hold texts alone, one a file; unpack it to read a table"
        raise PromptFileError(f"{source}: holds “{other[:80]}”; {message}")
    if not texts:
        raise PromptFileError(f"{source}: holds no file that ends in {', '.join(TEXT_SUFFIXES)}")
    texts.sort(key=lambda member: _order(member.filename))

    def rows() -> Iterator[Row]:
        with _reader_errors(source, "a ZIP archive"), zipfile.ZipFile(source) as file:
            for member in texts:
                yield _text_row(source, member.filename, file.open(member))

    return Rows(Found("archive of texts", "UTF-8"), rows())


def _text_row(source: Path, name: str, handle: IO[bytes]) -> Row:
    with handle:
        data = handle.read(TEXT_BYTES + 1)
    if len(data) > TEXT_BYTES:
        raise PromptFileError(f"{source}: {name[-80:]}: is longer than a prompt of {PROMPT_LIMIT:,} characters may be")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PromptFileError(f"{source}: {name[-80:]}: is not UTF-8 ({error.reason})") from error
    stem = PurePosixPath(name).stem
    return Row(f"“{name[-80:]}”", text, stem, stem)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _is_text_name(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(TEXT_SUFFIXES)


def _order(name: str) -> list[tuple[int, str]]:
    """Order names as people count: 2.txt before 10.txt."""
    return [(int(part[:18]), part) if part.isdecimal() else (-1, part) for part in _NUMBERS.split(name) if part]


# ------------------------------------------------------------------------------ bounds and errors


def _opened_archive(source: Path, kind: str, limit: int) -> zipfile.ZipFile:
    """Open an archive whose list of files and declared sizes are within the limits; no more than those is read."""
    with _reader_errors(source, kind):
        check_zip_directory(source, kind)
        file = zipfile.ZipFile(source)
    size = sum(member.file_size for member in file.infolist())
    if size > limit:
        file.close()
        raise PromptFileError(f"{source}: unpacks to {size:,} bytes, at most {limit:,} are read")
    return file


def check_zip_directory(source: Path, kind: str, most: int = FILE_LIMIT) -> None:
    """Check the length of the list of files before zipfile holds it in memory."""
    with source.open("rb") as handle:
        size = handle.seek(0, 2)
        if size > most:
            raise PromptFileError(f"{source}: has {size:,} bytes, at most {most:,} are read")
        handle.seek(max(0, size - 65_600))
        tail = handle.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0:
        raise PromptFileError(f"{source}: is not {kind}")
    length = int.from_bytes(tail[place + 12 : place + 16], "little")
    if length > DIRECTORY_LIMIT or tail[max(0, place - 20) : place].startswith(b"PK\x06\x07"):
        raise PromptFileError(f"{source}: holds more files than are read from an archive")


class _reader_errors(AbstractContextManager[None]):
    """Turn what a damaged file raises in its reader, which may be anything, into an error that names the file."""

    def __init__(self, source: Path, kind: str) -> None:
        self.source, self.kind = source, kind

    def __exit__(self, _type: Any, error: BaseException | None, _traceback: Any) -> None:
        if isinstance(error, PromptFileError) or not isinstance(error, Exception) or is_machine_fault(error):
            return
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise PromptFileError(f"{self.source}: cannot be read ({error.strerror})") from error
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PromptFileError(f"{self.source}: is not {self.kind} that can be read ({reason[:200]})") from error


def _missing(source: Path, kind: str, package: str) -> PromptFileError:
    return PromptFileError(f'{source}: {kind} needs {package}; install it with: pip install "evenhand[tables]"')
