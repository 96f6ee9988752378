"""Write the tables of ``docs/access.md`` from the table that the tests check; ``--check`` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.helpers.access_table import ADMIN, ROLES, TABLE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "access.md"
BEGIN, END = "<!-- begin: scripts/list_access.py -->", "<!-- end -->"


def tables() -> str:
    """Build the table of every address, with what each role gets by GET and by POST."""
    rows = [f"| address | method | {' | '.join(ROLES)} |", f"|---|---|{'---|' * len(ROLES)}"]
    for route, expected in (TABLE | ADMIN).items():
        for method, by_role in zip(("GET", "POST"), expected, strict=True):
            if set(by_role) - {"405", "login"}:  # else the address does not take the method
                rows.append(f"| `/{route}` | {method} | {' | '.join(by_role)} |")
    return "\n".join(rows)


def page() -> str:
    """Return the page with the table of today."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/access.md is not current: run python -m scripts.list_access")
