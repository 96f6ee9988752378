"""Write a study's results as files in a folder, and as a histogram for the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evenhand.analysis.preference import CATEGORIES
from evenhand.studies.models import Study
from evenhand.studies.results import figures
from evenhand.studies.results.export import csv_lines
from evenhand.studies.results.report import plural, study_report

BAR = 40  # cells of a bar of 100 %
OPTIONS = ("much better", "slightly better", "no preference", "slightly better", "much better")


def write(study: Study, folder: Path, *, population: str | None = None) -> list[Path]:
    """Write preferences.csv, histogram.svg and, where a curve was computed, frechet.svg; return their paths."""
    report = study_report(study, population=population)
    contents: dict[str, Iterable[str]] = {"histogram.svg": [figures.histogram(report).decode()]}
    subset = study.subset
    if subset is not None and subset.frechet_curve is not None:
        contents["frechet.svg"] = [figures.frechet_curve(subset.frechet_curve, subset.size, draw=subset.draw)]
    folder.mkdir(parents=True, exist_ok=True)
    contents["preferences.csv"] = csv_lines(study)
    return [_replace(folder / name, parts) for name, parts in contents.items()]


def _replace(path: Path, parts: Iterable[str]) -> Path:
    """Write a file under another name and rename it, so that nobody reads half of it."""
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.writelines(parts)
    os.replace(partial, path)
    return path


def terminal(study: Study, *, population: str | None = None) -> str:
    """Return the histogram as text: bars, percentages, intervals, and a mark where ratings are simulated."""
    report = study_report(study, population=population)
    mark = f"  [{report['mark'].upper()}]" if report["mark"] else ""
    ratings, evaluators = plural(report["n"], "rating"), plural(report["evaluators"]["rated"], "evaluator")
    lines = [f"{report['study']}: {ratings} by {evaluators}{mark}"]
    for comparison in report["comparisons"]:
        lines += ["", *_comparison(comparison, mark)]
    return "\n".join(lines)


def _comparison(comparison: dict[str, Any], mark: str) -> list[str]:
    names = [comparison["baseline_name"]] * 2 + [""] + [comparison["candidate_name"]] * 2
    labels = [f"{name} {option}".strip() for name, option in zip(names, OPTIONS, strict=True)]
    width = max(map(len, labels))
    lines = [comparison["finding"], f"n = {comparison['n']}, {plural(comparison['pairs'], 'pair')}{mark}"]
    if not comparison["n"]:
        return lines
    for label, name in zip(labels, CATEGORIES, strict=True):
        lines.append(f"  {label:{width}}  {_row(comparison, name)}")
    for side in ("candidate", "baseline"):
        label = f"{comparison[f'{side}_name']} in all"
        lines.append(f"  {label:{width}}  {_row(comparison, side)}")
    if comparison["both_bad"]["n"]:
        share = 100 * comparison["both_bad"]["share"]
        lines.append(f"  both bad: {comparison['both_bad']['n']}, {share:.0f} %, counted as no preference")
    return lines


def _row(comparison: dict[str, Any], name: str) -> str:
    interval = comparison["intervals"][name]
    row = f"{bar(interval['estimate'])} {100 * interval['estimate']:3.0f} %"
    if comparison["no_interval"]:
        return row
    return f"{row}  ({100 * interval['low']:.0f}–{100 * interval['high']:.0f})"


def bar(share: float) -> str:
    """Draw a share as a bar of eighths of cells, padded to the width of 100 %."""
    whole, eighths = divmod(round(8 * BAR * share), 8)
    return f"{'█' * whole}{' ▏▎▍▌▋▊▉'[eighths]}".rstrip().ljust(BAR)
