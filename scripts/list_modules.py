"""Write ``docs/modules.md``, the first docstring line of every module; ``--check`` only compares."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "modules.md"
PACKAGES = ("config", "studies", "sampling", "generation", "metrics", "analysis", "demo", "evenhand")
HEAD = """\
# Modules

Every module with the first line of its docstring, written by `python scripts/list_modules.py` and checked by a test.
Names stand below `evenhand`. The folders and the rules between them stand in [architecture.md](architecture.md).
"""


def modules(package: str) -> list[Path]:
    """List the package's modules in order, without migrations and without the targets of links in ``evenhand/``."""
    folder = ROOT / package
    return sorted(
        path for path in folder.rglob("*.py") if "migrations" not in path.parts and folder in path.resolve().parents
    )


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring; empty if it has none."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def dotted(path: Path) -> str:
    """Return a module's name below ``evenhand``; of a package's ``__init__`` the package's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def page() -> str:
    """Build the page."""
    parts = [HEAD]
    for package in PACKAGES:
        rows = []
        for path in modules(package):
            if line := first_line(path):
                name = dotted(path)
                rows.append(f"| `{name}` | {line.replace('``', '`')} |\n")
        parts.append(f"\n## {package}\n\n| module | |\n|---|---|\n{''.join(rows)}")
    return "".join(parts)


def main() -> None:
    """Write the page, or with ``--check`` exit with 1 if it is not current."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE.relative_to(ROOT)} is not current: run python scripts/list_modules.py")


if __name__ == "__main__":
    main()
