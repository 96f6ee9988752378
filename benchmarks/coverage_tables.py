"""Write the tables of ``docs/statistics.md`` from what ``benchmarks.coverage`` counted."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.coverage import RESULTS
from benchmarks.coverage_studies import DESIGNS, LEADS
from benchmarks.looks import RESULTS as LOOKS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "statistics.md"
LOW, HIGH = 93.0, 98.0  # % of intervals: outside, a method is named in the text
MOST_WRONG = 6.5  # % of tests
NO_TEST = ("share", "stratum: candidate", "stratum: baseline", "α", "pass rate", "consistency", "Davidson: ")
SHORT = ("17 × 15 of 150", "17 × 15 of 30", "5 × 51 of 150", "51 × 50 of 150", "half full")


def covered(counts: dict[str, float]) -> float:
    """Return the share of intervals that hold the truth, %."""
    return 100 * (1 - (counts.get("below", 0) + counts.get("above", 0)) / counts["intervals"])


def by_measure(record: dict[str, Any], value: Any, chosen: Any) -> dict[str, dict[str, list[float]]]:
    """Collect a value of each cell by measure and design."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for key, cell in record["cells"].items():
        design, _, lead = key.split(" | ")
        for name, counts in cell["measures"].items():
            if chosen(name, counts, lead):
                found[name][design].append(value(counts))
    return found


def coverage_of(record: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Coverage, %, of every measure with an interval, by design: one number an effect and a lead."""
    return by_measure(record, covered, lambda _name, counts, _lead: counts.get("intervals", 0) > 0)


def wrong_of(record: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Tests that find what is not there, %, by design: one number an effect."""

    def is_tested(name: str, counts: dict[str, float], lead: str) -> bool:
        if not counts.get("tests") or (name.startswith(NO_TEST) and name != "Davidson: lead"):
            return False
        return lead == LEADS[0] or name.startswith("equivalence")

    return by_measure(record, lambda counts: 100 * counts["found"] / counts["tests"], is_tested)


def bias_of(record: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Mean estimate less truth of what has no interval, and of α, by design."""
    return by_measure(
        record,
        lambda counts: counts["sum"] / counts["estimates"] - counts["truth"],
        lambda name, counts, _lead: name.startswith(("AC2", "α", "variance")) and counts.get("estimates", 0) > 0,
    )


def table(found: dict[str, dict[str, list[float]]], digits: int, *, gates: tuple[float, float] | None = None) -> str:
    """Write lowest and highest value, one column a design, with a star where one lies outside the gates."""
    lines = [f"| | {' | '.join(SHORT)} |", f"|---|{'---|' * len(SHORT)}"]
    for name, designs in found.items():
        cells = " | ".join(_range(designs.get(design, []), digits, gates) for design in DESIGNS)
        lines.append(f"| {name.replace('_', ' ')} | {cells} |")
    return "\n".join(lines)


def _range(values: list[float], digits: int, gates: tuple[float, float] | None) -> str:
    if not values:
        return "–"
    low, high = min(values), max(values)
    star = " *" if gates and (low < gates[0] or high > gates[1]) else ""
    return f"{low:.{digits}f} … {high:.{digits}f}{star}".replace("-0.000", "0.000").replace("-", "−")


def tables(record: dict[str, Any]) -> dict[str, str]:
    """Return the page's tables by the names of their places."""
    return {
        "coverage": table(coverage_of(record), 1, gates=(LOW, HIGH)),
        "tests": table(wrong_of(record), 1, gates=(0.0, MOST_WRONG)),
        "bias": table(bias_of(record), 3),
    }


def looks_table(record: dict[str, Any]) -> str:
    """Write what looking costs and what the sequence finds, from ``benchmarks.looks``, one row a design."""
    lines = [
        "| | one look at the end | interval at every look | sequence at every look | evaluators, of 41 points |",
        "|---|---|---|---|---|",
    ]
    for design in dict.fromkeys(key.split(" | ")[0] for key in record):
        rows = {lead: [row for key, row in record.items() if key.startswith(design) and key.endswith(lead)]
                for lead in ("no difference", "41 points")}  # fmt: skip
        cells = [
            _range([100 * row[name] for row in rows["no difference"]], 1, None)
            for name in ("interval_at_the_end", "interval_at_every_look", "sequence_at_every_look")
        ]
        medians = [row["median_evaluators"] for row in rows["41 points"]]
        told = "–" if None in medians else f"{min(medians)} … {max(medians)}"
        lines.append(f"| {design} | {' | '.join(cells)} | {told} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """Put the tables between their markers."""
    found = tables(json.loads(RESULTS.read_text(encoding="utf-8")))
    found["looks"] = looks_table(json.loads(LOOKS.read_text(encoding="utf-8")))
    for name, content in found.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{content}\n\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    """Write the tables into the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
