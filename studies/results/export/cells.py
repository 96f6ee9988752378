"""Write cells of CSV as every program reads them: RFC 4180, TRUE and FALSE, ISO 8601, no formulas."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# What spreadsheets take for the beginning of a formula (OWASP, CSV injection), after any apostrophes.
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
QUOTED = re.compile(r'[",\r\n]')
EXCEL_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"  # a byte-order mark: without it Excel on Windows misreads “w̄”


def protected(text: str) -> str:
    """Put an apostrophe in front of text that a spreadsheet could read as a formula."""
    return f"'{text}" if FORMULA.match(text) else text


def quoted(text: str) -> str:
    """Write text as one cell: in quotation marks where it holds a comma, a quotation mark or a line break."""
    return '"' + text.replace('"', '""') + '"' if QUOTED.search(text) else text


def words(text: str | None) -> str:
    """Write free text: nothing for None, protected and quoted."""
    return quoted(protected(text)) if text else ""


def boolean(value: object) -> str:
    """Write TRUE or FALSE, which R and pandas read as such; nothing for None. SQLite gives 0 and 1."""
    return "" if value is None else "TRUE" if value else "FALSE"


def number(value: object) -> str:
    """Write a number; nothing for None."""
    return "" if value is None else str(value)


def moment(value: datetime | None) -> str:
    """Write a time in UTC to the millisecond; nothing for None."""
    if value is None:
        return ""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
