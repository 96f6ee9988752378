"""Define a table once, for the page, for LaTeX and for CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenhand.studies.results.export import protected
from evenhand.studies.results.tables import numbers

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau",
    "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega",
}  # fmt: skip
# What LaTeX would take for a command, and what its usual fonts lack.
ESCAPES = {
    **{letter: f"$\\{name}$" for letter, name in GREEK.items()},
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "−": r"$-$", "–": "--",
    "×": r"$\times$", "∞": r"$\infty$", "é": r"\'e", "₁": r"$_1$", "₂": r"$_2$", "ₛ": r"$_s$", "“": "``", "”": "''",
    "’": "'", "…": r"\ldots{}", "≤": r"$\leq$", "≥": r"$\geq$", "\n": " ", "\u00a0": "~", "\u202f": r"\,",
    "·": r"$\cdot$", "±": r"$\pm$", "→": r"$\to$",
}  # fmt: skip
MACRON = "\u0304"  # w̄


@dataclass(frozen=True)
class Column:
    """A column: its heading, and the names of what it holds in the CSV."""

    title: str
    names: tuple[str, ...]
    number: bool = True


@dataclass(frozen=True)
class Cell:
    """What the page and LaTeX show, and the plain values of the CSV."""

    text: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """A table, with a sentence that says what it tells. Its first column names the row."""

    name: str
    title: str
    says: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def lines(self) -> list[list[tuple[Column, Cell]]]:
        """Return the rows, each cell with its column."""
        return [list(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_csv(self) -> str:
        """Return the plain values; text that a spreadsheet could take for a formula has an apostrophe in front."""
        output = io.StringIO()
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow([name for column in self.columns for name in column.names])
        for row in self.rows:
            writer.writerow([_value(value) for cell in row for value in cell.values])
        return output.getvalue()

    def to_latex(self, source: str) -> str:
        """Return a table of the package booktabs, everything in it escaped; ``source`` says where it comes from."""
        head = " & ".join(escaped(column.title) for column in self.columns)
        body = [" & ".join(escaped(cell.text) for cell in row) for row in self.rows]
        lines = [
            f"% {' '.join(source.split())}",
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{escaped(self.title)}. {escaped(self.says)}}}",
            f"  \\label{{tab:{self.name}}}",
            f"  \\begin{{tabular}}{{{''.join('r' if column.number else 'l' for column in self.columns)}}}",
            "    \\toprule",
            f"    {head} \\\\",
            "    \\midrule",
            *(f"    {row} \\\\" for row in body),
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
        ]
        return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text as LaTeX source."""
    whole = re.sub(f"(\\w){MACRON}", "\0\\1\1", text)
    whole = "".join(ESCAPES.get(letter, letter) for letter in whole)
    return re.sub("\0(\\w)\1", r"$\\bar{\1}$", whole)


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return "" if value is None else protected(value) if isinstance(value, str) else value


def text(value: str) -> Cell:
    """A cell of words."""
    return Cell(value, (value,))


def count(value: int | None) -> Cell:
    """A cell of a whole number."""
    return Cell(numbers.count(value), (value,))


def number(value: float | None, write: Any) -> Cell:
    """A cell of one number."""
    return Cell(write(value), (value,))


def estimate(value: Mapping[str, Any], write: Any) -> Cell:
    """A cell of an estimate with its interval."""
    return Cell(numbers.with_interval(value, write), (value["estimate"], value["low"], value["high"]))


def estimate_column(title: str, name: str) -> Column:
    """The column of such cells."""
    return Column(title, (name, f"{name}_low", f"{name}_high"))


def table(name: str, title: str, says: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Table:
    """Make a table; its sentence gets proper apostrophes."""
    return Table(name, title, says.replace("'", "’"), tuple(columns), tuple(tuple(row) for row in rows))
