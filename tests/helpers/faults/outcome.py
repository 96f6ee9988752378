"""Hold what a run with faults did, and lay several of them out as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

LEFT_OUT = "not run: "


@dataclass
class Outcome:
    """One run: what kind of fault, over which services, what was injected, what was done, what does not hold.

    faults: how often each was injected. work: counts of what was done meanwhile, and of what the faults cost.
    checked: what was compared, in words. differences: what did not hold; empty where everything did.
    skipped: why it could not run; then nothing else is told.
    """

    kind: str
    where: str
    faults: dict[str, int] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    checked: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str = ""

    def expect(self, what: str, differences: Iterable[str]) -> None:
        """Note a check, and what it found."""
        self.checked.append(what)
        self.differences += [f"{what}: {each}" for each in differences]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        return asdict(self)


def said(counts: Mapping[str, float]) -> str:
    """Say counts in a line."""
    return ", ".join(f"{value:g} {name}" for name, value in counts.items()) or "none"


def table(outcomes: Sequence[Outcome]) -> str:
    """Lay runs out as a table in Markdown."""
    rows = ["| fault | on | injected | work done | seconds | differences |", "|---|---|---|---|---|---|"]
    for each in outcomes:
        if each.skipped:
            rows.append(f"| {each.kind} | {each.where} | {LEFT_OUT}{each.skipped} | | | |")
            continue
        differences = f"{len(each.differences)}" if each.differences else "none"
        rows.append(
            f"| {each.kind} | {each.where} | {said(each.faults)} | {said(each.work)} | {each.seconds:.0f} "
            f"| {differences} |"
        )
    return "\n".join(rows) + "\n"
