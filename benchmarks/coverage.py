"""Count how often the intervals and tests that pages print are right, over simulated studies.

``python -m benchmarks.coverage`` simulates 1 000 studies of every cell of ``benchmarks.coverage_studies``, computes
their results as pages do, and adds the counts to ``benchmarks/results/coverage.json`` hundred by hundred: stopped, it
goes on where it was. ``--studies`` sets another number.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.coverage_studies import (
    CHECKS,
    DESIGNS,
    LEADS,
    MARGIN,
    PASSED,
    REPEATS,
    Cell,
    Drawn,
    Population,
    Study,
    cells,
)
from evenhand.analysis.agreement import consistency, pass_rate, study_pass_rate
from evenhand.analysis.clustered import Estimate, clusters
from evenhand.analysis.decisions import holm
from evenhand.analysis.simulated_study import SCORES

if TYPE_CHECKING:
    from evenhand.studies.results.report.ratings import Ratings

RESULTS = Path(__file__).parent / "results" / "coverage.json"
CHUNK = 100  # studies of one seed
STRATA = ("high", "middle", "low")
MOST_CROSSED = 2000  # ratings to which pages fit random effects
Found = dict[str, Any]
Counts = dict[str, float]


def ratings_of(drawn: Drawn, comparison: int) -> Ratings:
    """Return one comparison's ratings as results read them from the database."""
    from evenhand.studies.results.report.ratings import Ratings

    n = len(drawn.choice)
    nothing = np.zeros(n, np.bool_)
    return Ratings(
        comparison=np.full(n, comparison, np.intp),
        criterion=np.zeros(n, np.intp),
        evaluator=drawn.evaluator,
        prompt=drawn.prompt,
        stratum=drawn.prompt % len(STRATA),
        choice=drawn.choice,
        on_left=drawn.on_left,
        both_bad=nothing,
        elapsed_ms=np.full(n, 4000.0),
        counts=np.ones(n, np.bool_),
        for_pair=nothing,
        flagged=nothing,
        failed_check=nothing,
        once=True,
    )


def results_of(study: Study, *, crossed: bool) -> tuple[list[Found], Found]:
    """Compute what pages print: the results of both comparisons, and Davidson's scores of the three arms."""
    from evenhand.studies.models import Arm, Comparison
    from evenhand.studies.results.report.comparison import Options, comparison_result
    from evenhand.studies.results.report.scores import davidson_scores

    parts = [ratings_of(each, i) for i, each in enumerate(study.comparisons)]
    people = len(np.unique(study.comparisons[0].evaluator))
    results = [
        comparison_result(part, Options(False, STRATA, 100 * MARGIN, planned=people, crossed=crossed and not i))
        for i, part in enumerate(parts)
    ]
    arms = [Arm(pk=i + 1) for i in range(3)]
    both = [Comparison(position=i, baseline=arms[0], candidate=arms[i + 1]) for i in range(2)]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in type(parts[0]).__dataclass_fields__
        if name != "once"
    }
    together = type(parts[0])(**columns)
    scores = davidson_scores(together, both, {1: "baseline", 2: "one", 3: "other"}, interim=False)
    assert scores is not None
    return results, scores


def measure(study: Study, cell: Cell) -> list[tuple[str, Found, float]]:
    """Return everything that is estimated of one study: its name, the interval as pages print it, and the truth."""
    is_null = cell.lead == LEADS[0]
    results, scores = results_of(study, crossed=is_null and DESIGNS[cell.design].ratings <= MOST_CROSSED)
    one = cell.populations[0]
    rows = [*_of_comparison(results[0], one), *_points(results[0], one)]
    equivalence = results[1]["equivalence"]
    # of a difference as large as the margin: told to be equivalent it is told wrongly
    if not is_null:
        rows.append(("equivalence at the margin", {"estimate": MARGIN, "p": equivalence["p"]}, MARGIN))
    else:
        adjusted = holm([each["net_share"]["p"] for each in results])
        rows.append(("Holm, any of two comparisons", {"estimate": 0.0, "p": float(np.nanmin([*adjusted, 1.0]))}, 0.0))
        if results[0]["crossed_link"] is not None and results[0]["crossed_link"]["converged"]:
            rows.append(("lead, random effects", results[0]["crossed_link"]["lead"], 0.0))
    if results[0]["cumulative_link"]["converged"]:
        rows.append(("lead, cumulative link", results[0]["cumulative_link"]["lead"], one.link_lead))
    if scores["converged"]:
        rows += [(f"Davidson: {each['name']}", each, cell.davidson[each["name"]]) for each in scores["scores"]]
        rows.append(("Davidson: lead", scores["differences"][0], cell.davidson["lead"]))
    return [*rows, *_of_people(study, one)]


def _of_comparison(result: Found, population: Population) -> Iterable[tuple[str, Found, float]]:
    shares = population.shares
    intervals = result["intervals"]
    for i, name in enumerate(("baseline_strong", "baseline_slight", "none", "candidate_slight", "candidate_strong")):
        yield f"share: {name}", intervals[name], float(shares[i])
    sides = {"baseline": float(shares[:2].sum()), "candidate": float(shares[3:].sum())}
    net, mean = float(shares @ SCORES["net"]), float(shares @ SCORES["mean"])
    for name, truth in sides.items():
        yield f"share: {name}", intervals[name], truth
    yield "net share", result["net_share"], net
    yield "mean preference", result["mean_preference"], mean
    yield "win share", result["win_share"], (net + 1) / 2
    stratum = result["strata"][STRATA[0]]["intervals"]
    yield "stratum: net share", stratum["net"], net
    yield "stratum: candidate", stratum["candidate"], sides["candidate"]
    yield "stratum: baseline", stratum["baseline"], sides["baseline"]
    choices = population.choices
    yield "side bias: mean choice", result["side_bias"]["mean"], float(choices @ SCORES["mean"])
    yield "side bias: right", result["side_bias"]["right"], float(choices[3:].sum() / (1 - choices[2]))
    yield "α", result["agreement"] | {"estimate": result["alpha"]}, population.alpha


def _points(result: Found, population: Population) -> Iterable[tuple[str, Found, float]]:
    yield "AC2", {"estimate": result["agreement"]["ac2"]}, population.ac2
    for name, truth in zip(("evaluator", "prompt", "residual"), population.variances, strict=True):
        yield f"variance: {name}", {"estimate": result["variance"][name]}, truth


def _of_people(study: Study, population: Population) -> Iterable[tuple[str, Found, float]]:
    people = len(study.passed)
    yield "pass rate, as if independent", _told(pass_rate(int(study.passed.sum()), CHECKS * people)), PASSED
    yield "pass rate", _told(study_pass_rate(study.passed, np.full(people, CHECKS))), PASSED
    drawn = study.comparisons[0]
    place = np.concatenate([np.flatnonzero(drawn.evaluator == each)[:REPEATS] for each in np.unique(drawn.evaluator)])
    first = np.where(drawn.on_left, -drawn.choice, drawn.choice)[place]
    groups = clusters(drawn.evaluator[place], drawn.prompt[place])
    steady = consistency(first, drawn.again[place], groups)
    same, difference = population.repeated
    yield "consistency: same side", _told(steady.same_side), same
    yield "consistency: difference", _told(steady.difference) | {"p": math.nan}, difference  # 0 is no question


def _told(estimate: Estimate) -> Found:
    return {"estimate": estimate.estimate, "low": estimate.low, "high": estimate.high, "p": estimate.p}


def count(rows: Iterable[tuple[str, Found, float]], totals: dict[str, Counts]) -> None:
    """Add one study's estimates to the totals: how many, with an interval, holding the truth, and rejecting it."""
    for name, found, truth in rows:
        add = totals[name]
        estimate, low, high, p = (_number(found.get(key)) for key in ("estimate", "low", "high", "p"))
        add["truth"] = truth
        add["studies"] += 1
        if not math.isnan(estimate):
            add["estimates"] += 1
            add["sum"] += estimate
            add["squares"] += estimate**2
        if not math.isnan(low):
            add["intervals"] += 1
            add["below"] += truth < low  # the interval lies too high
            add["above"] += truth > high
        if not math.isnan(p):
            add["tests"] += 1
            add["found"] += p < 0.05


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def simulate(cell: Cell, chunk: int, studies: int = CHUNK) -> dict[str, Counts]:
    """Simulate one chunk of a cell's studies, always the same ones."""
    totals: dict[str, Counts] = defaultdict(lambda: defaultdict(float))
    rng = np.random.default_rng([20, chunk, *cell.key.encode()])
    for _ in range(studies):
        count(measure(cell.draw(rng), cell), totals)
    return totals


def merged(one: Mapping[str, Counts], other: Mapping[str, Counts]) -> dict[str, Counts]:
    """Add the counts of two chunks; truths stay."""
    total: dict[str, Counts] = {}
    for name in {**one, **other}:
        first, second = one.get(name, {}), other.get(name, {})
        total[name] = {key: first.get(key, 0.0) + second.get(key, 0.0) for key in sorted({*first, *second})}
        total[name]["truth"] = (second or first)["truth"]
    return total


def prepare() -> None:
    """Load the application, whose results are computed; no database is opened."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "evenhand.config.settings")
    django.setup()


def run(studies: int, path: Path) -> None:
    """Bring every cell to that many studies."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cells": {}}
    record["versions"] = {name: version(name) for name in ("numpy", "scipy")}
    for chunk in range(studies // CHUNK):
        for cell in cells():
            done = record["cells"].setdefault(cell.key, {"studies": 0, "seconds": 0.0, "measures": {}})
            if done["studies"] > chunk * CHUNK:
                continue
            started = time.monotonic()
            done["measures"] = merged(done["measures"], simulate(cell, chunk))
            done["studies"] += CHUNK
            done["seconds"] = round(done["seconds"] + time.monotonic() - started, 1)
            print(f"{done['studies']:5} {done['seconds']:8.1f} s  {cell.key}", flush=True)
            _write(record, path)


def _write(record: dict[str, Any], path: Path) -> None:
    """Write one measure a line, into another file first: a run may be stopped at any moment."""
    parts = []
    for key, cell in record["cells"].items():
        rows = ",\n".join(
            f"   {_text(name)}: {_text({each: round(value, 6) for each, value in counts.items()})}"
            for name, counts in cell["measures"].items()
        )
        head = f'{{"studies": {cell["studies"]}, "seconds": {cell["seconds"]}, "measures": {{'
        parts.append(f"  {_text(key)}: {head}\n{rows}}}}}")
    whole, together = path.with_suffix(".part"), ",\n".join(parts)
    whole.write_text(f'{{"versions": {_text(record["versions"])},\n "cells": {{\n{together}}}}}\n', encoding="utf-8")
    whole.replace(path)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    prepare()
    run(arguments.studies, arguments.json)


if __name__ == "__main__":
    main()
