"""Say in sentences how a prompt file is read, for the console and the command."""

from __future__ import annotations

from evenhand.sampling.reading import NO_SEPARATOR, Found, printable


def sentences(found: Found) -> list[str]:
    """Return how a file is read: its kind, separator, quoting, header, encoding and columns; then the notes."""
    article = "an" if found.kind[0] in "aeiouAEIOU" else "a"
    parts = [found.kind if found.kind.startswith(("JSON", "plain")) else f"{article} {found.kind}"]
    if found.separator == NO_SEPARATOR:
        parts.append("one prompt a line")
    elif found.separator is not None:
        separated = f"{found.separator}s" if len(found.separator) > 1 else f"“{found.separator}”"
        parts.append(f"separated by {separated}")
        parts.append("with quotation marks around fields" if found.quoting else "without quoting")
    if found.header is not None:
        parts.append("the first row names the columns" if found.header else "without a row of names")
    if found.encoding is not None:
        parts.append(found.encoding)
    lines = [f"Read as {', '.join(parts)}."]
    if found.column is not None and len(found.columns) > 1:
        named = [("prompts", found.column), ("ids", found.id_column), ("seeds", found.seed_column)]
        lines.append(". ".join(f"The {use}: “{printable(name, 60)}”" for use, name in named if name is not None) + ".")
    return [*lines, *found.notes]
