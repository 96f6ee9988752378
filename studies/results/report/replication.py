"""Set a replication's results beside the original's and beside both pooled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenhand.analysis.preference import preference_estimates
from evenhand.studies.models import Replication, Study
from evenhand.studies.results.report.comparison import interval
from evenhand.studies.results.report.ratings import Ratings
from evenhand.studies.results.report.records import Records, place_of

Numbers = NDArray[np.int64]
COLUMNS = ("pair", "criterion", "evaluator", "preference", "simulated")


@dataclass(frozen=True, eq=False)
class OriginalRatings:
    """The counting ratings of the study that is replicated, as columns of one length.

    ``pair`` is the replication's own pair of the same pictures; evaluators are numbered from 0, apart from its own.
    """

    pair: Numbers
    criterion: Numbers
    evaluator: Numbers
    preference: Numbers  # −2 … 2 towards the candidate
    simulated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pair)

    def of(self, population: str) -> OriginalRatings:
        """Return those of a population: real, simulated or all."""
        if population == "all":
            return self
        chosen = self.simulated == (population == "simulated")
        return OriginalRatings(*(getattr(self, name)[chosen] for name in COLUMNS))


def replication_of(study: Study) -> tuple[Replication, OriginalRatings] | None:
    """Return what a study replicates, with the original's ratings; None where it replicates nothing."""
    found = Replication.objects.filter(study=study).first()
    if found is None:
        return None
    kinds = (np.int64, np.int64, np.int64, np.int64, np.bool_)
    columns: list[Any] = [np.array(found.ratings[name], kind) for name, kind in zip(COLUMNS, kinds, strict=True)]
    return found, OriginalRatings(*columns)


def replication_section(
    records: Records, counting: Ratings, names: Mapping[int, str], *, population: str, interim: bool
) -> dict[str, Any] | None:
    """Return each comparison's net share in the original, in the replication and in both pooled; None for no one's.

    Ratings of a prompt are taken to be correlated across both studies, those of evaluators within one. The original's
    ratings are of the same population; p-values are withheld as everywhere while more ratings may come.
    """
    found = replication_of(records.study) if records.replicates else None
    if found is None:
        return None
    replication, everything = found
    original = everything.of(population)
    place = place_of(original.pair, records.pairs.pk)
    prompt, comparison = records.pairs.prompt[place], records.pairs.comparison[place]
    people = len(records.people)
    rows = []
    for criterion, named in enumerate(records.configuration.criteria):
        for each in records.comparisons:
            ours = counting.where((counting.comparison == each.position) & (counting.criterion == criterion))
            theirs = (comparison == each.position) & (original.criterion == criterion)
            old = _Part(original.preference[theirs], original.evaluator[theirs] + people, prompt[theirs])
            new = _Part(ours.preference, ours.evaluator, ours.prompt)
            rows.append(
                {
                    "number": each.position + 1,
                    "criterion": named.name,
                    "baseline_name": names[each.baseline.pk],
                    "candidate_name": names[each.candidate.pk],
                    "original": old.net(interim=replication.original_state != Study.State.CLOSED),
                    "replication": new.net(interim=interim),
                    "pooled": old.and_also(new).net(interim=interim),
                }
            )
    simulated = int(everything.simulated.sum())
    return {
        "original": {
            "study": replication.original_name,
            "state": replication.original_state,
            "version_sha256": replication.original_version_sha256,
            "bundle_root": replication.bundle_root,
            "anonymous": replication.anonymous,
            "ratings": {"real": len(everything) - simulated, "simulated": simulated},
        },
        "comparisons": rows,
    }


@dataclass(frozen=True, eq=False)
class _Part:
    """Some ratings of one comparison by one criterion."""

    preference: NDArray[np.integer[Any]]
    evaluator: NDArray[np.integer[Any]]
    prompt: NDArray[np.integer[Any]]

    def and_also(self, other: _Part) -> _Part:
        return _Part(
            np.concatenate([self.preference, other.preference]),
            np.concatenate([self.evaluator, other.evaluator]),
            np.concatenate([self.prompt, other.prompt]),
        )

    def net(self, *, interim: bool) -> dict[str, Any]:
        """Return the net share, candidate minus baseline, with its interval, and what it rests on."""
        estimate = preference_estimates(self.preference, self.evaluator, self.prompt)["net"]
        return {
            "n": len(self.preference),
            "evaluators": len(np.unique(self.evaluator)),
            "prompts": len(np.unique(self.prompt)),
            "net_share": interval(estimate, interim),
        }
