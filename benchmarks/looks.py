"""Count how often a difference is found where there is none, by who looks after every evaluator.

``python -m benchmarks.looks`` simulates studies without a difference and writes ``benchmarks/results/looks.json``: the
share of studies in which some look finds one, by 95 % intervals and by the confidence sequence of
``analysis.monitoring``; and of studies with the paper's difference, how many evaluators the sequence takes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.coverage_studies import EFFECTS, EVEN_SHARES
from evenhand.analysis.clustered import clusters, mean_estimate
from evenhand.analysis.monitoring import sequence_interval
from evenhand.analysis.simulated_study import Design, LatentModel, matched_model, simulate_study

RESULTS = Path(__file__).parent / "results" / "looks.json"
DESIGNS = {
    "the paper's: 17 × 15 of 150": Design(17, 15, 150),
    "30 prompts: 17 × 15 of 30": Design(17, 15, 30),
    "5 × 51 of 150": Design(5, 51, 150),
    "51 × 15 of 150": Design(51, 15, 150),
    "51 × 50 of 150": Design(51, 50, 150),
}
FIRST = 2  # evaluators at the first look
LARGE, OF_LARGE = 1_000, 200  # ratings of a large study; so many of these are enough


def looks(design: Design, model: LatentModel, rng: np.random.Generator, *, planned: int) -> tuple[int, int, int]:
    """Look after each evaluator; return at how many the difference was first found: interval, sequence; 0 for never.

    The third number is 1 if the 95 % interval of the whole study finds it.
    """
    study = simulate_study(design, model, rng)
    signs = np.sign(study.preference)
    first = [0, 0]
    for seen in range(FIRST, design.evaluators + 1):
        part = study.evaluator < seen
        estimate = mean_estimate(signs[part], clusters(study.evaluator[part], study.prompt[part]))
        sequence = sequence_interval(estimate, seen, planned=planned)
        for i, each in enumerate((estimate, sequence)):
            if not first[i] and (each.low > 0 or each.high < 0):
                first[i] = seen
    return first[0], first[1], int(estimate.low > 0 or estimate.high < 0)


def measure(design: Design, model: LatentModel, studies: int, seed: int) -> dict[str, Any]:
    """Return shares of the studies, 0 … 1, and the median number of evaluators after which the sequence found it."""
    rng = np.random.default_rng([seed, design.evaluators, design.trials, design.prompts])
    found = np.array([looks(design, model, rng, planned=design.evaluators) for _ in range(studies)])
    stopped = np.sort(np.where(found[:, 1] > 0, found[:, 1], np.inf))
    median = stopped[(studies - 1) // 2]
    return {
        "studies": studies,
        "interval_at_the_end": float(found[:, 2].mean()),
        "interval_at_every_look": float((found[:, 0] > 0).mean()),
        "sequence_at_every_look": float((found[:, 1] > 0).mean()),
        "median_evaluators": int(median) if np.isfinite(median) else None,
    }


def main() -> None:
    """Measure every design with every effect, without a difference and with 41 points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    record = {}
    for name, design in DESIGNS.items():
        for effects, correlations in EFFECTS.items():
            even = matched_model(EVEN_SHARES, *correlations)
            for lead, model in (("no difference", even), ("41 points", even.moved_to(0.41))):
                studies = min(arguments.studies, OF_LARGE if design.ratings > LARGE else arguments.studies)
                row = measure(design, model, studies, seed=7)
                record[f"{name} | {effects} | {lead}"] = row
                print(name, effects, lead, row, flush=True)
                arguments.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
