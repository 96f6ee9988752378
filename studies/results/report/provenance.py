"""Say by what methods results were computed, and from what: what researchers cite."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from evenhand import __version__
from evenhand.analysis.clustered import LEVEL
from evenhand.generation.guidance import Uploaded
from evenhand.studies.models import Study, SubsetPrompt
from evenhand.studies.results.report.left_out import exclusions_listed, moment
from evenhand.studies.results.report.records import Records

VERSION_EVENTS = ("created", "changed", "revised")
# name, what it gives, reference. All are computed without chance: no seed is drawn.
METHODS = (
    ("preference shares", "shares of the five answers, net share, mean preference, (wins + ties / 2) / n",
     "Azarian et al., Segmentation-Free Guidance for Text-to-Image Diffusion Models, Fig. 11"),
    ("two-way cluster-robust errors",
     "errors, intervals and tests of means, by evaluator and by prompt; Student's t, with one degree of freedom less "
     "than the smaller number of clusters",
     "Cameron, Gelbach & Miller 2011, Journal of Business & Economic Statistics 29(2)"),
    ("Wilson's interval", "intervals of shares, for as many ratings as independent ones would be worth",
     "Wilson 1927, Journal of the American Statistical Association 22"),
    ("Holm's adjustment", "p-values of a study's comparisons, within each criterion",
     "Holm 1979, Scandinavian Journal of Statistics 6(2)"),
    ("two one-sided tests", "equivalence within the margin that the plan set",
     "Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15"),
    ("detectable difference",
     "the net share that a study with these ratings, evaluators and prompts finds with a power of 80 %; noncentral t",
     "Hoenig & Heisey 2001, The American Statistician 55(1)"),
    ("confidence sequence", "intervals of the net share that hold however often one looks",
     "Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Annals of Statistics 52"),
    ("Krippendorff's α", "agreement, ordinal; interval by a jackknife over units and evaluators",
     "Krippendorff 2004, Content Analysis, chapter 11"),
    ("Gwet's AC2", "agreement beyond chance, ordinal weights", "Gwet 2014, Handbook of Inter-Rater Reliability"),
    ("variance components", "parts of the variance due to evaluators, prompts and the rest",
     "Henderson 1953, method 1, Biometrics 9(2)"),
    ("cumulative-link model", "latent lead of the candidate; logit, thresholds symmetric about 0",
     "McCullagh 1980, Journal of the Royal Statistical Society B 42(2)"),
    ("crossed random effects", "the same model with effects of evaluators and prompts, by Laplace's approximation",
     "Tierney & Kadane 1986, Journal of the American Statistical Association 81"),
    ("Davidson's model", "scores of three or more arms from comparisons with ties",
     "Davidson 1970, Journal of the American Statistical Association 65"),
)  # fmt: skip


def methods() -> list[dict[str, Any]]:
    """Name every method, its reference, its seed and the versions of what computed it."""
    return [
        {"name": name, "gives": gives, "reference": reference, "level": LEVEL, "seed": None, "versions": versions()}
        for name, gives, reference in METHODS
    ]


@cache
def versions() -> dict[str, str]:
    """Return the versions of what computed the numbers."""
    return {
        "evenhand": __version__,
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "python": platform.python_version(),
    }


def provenance(records: Records, computed: datetime) -> dict[str, Any]:
    """Return what identifies the study, its prompts, its pictures, its changes and its dates."""
    study = records.study
    current = study.current_version
    recipe = study.recipe
    return {
        "configuration": current.configuration if current else None,  # canonical JSON; its SHA-256 follows
        "configuration_sha256": current.sha256 if current else None,
        "versions": [
            {"sha256": event["detail"].get("version_hash"), "at": moment(event["at"]), "event": event["action"]}
            for event in records.events
            if event["action"] in VERSION_EVENTS
        ],
        "prompt_set": {
            "name": study.prompt_set.name,
            "sha256": study.prompt_set.sha256,
            "count": study.prompt_set.count,
        },
        **_subset(study),
        "checkpoint": recipe.checkpoint if recipe else records.configuration.checkpoint,
        "uploaded": [_uploaded(arm) for arm in records.configuration.arms if isinstance(arm, Uploaded)],
        "checkpoint_revision": recipe.revision if recipe else None,
        "recipe": {
            name: getattr(recipe, name) for name in ("scheduler", "steps", "height", "width", "dtype", "batch_size")
        }
        if recipe
        else None,
        "ratings_root": study.ratings_root or None,
        "exclusions": exclusions_listed(records),
        "dates": {
            "created": moment(study.created_at),
            "opened": moment(records.last("opened")),
            "closed": moment(records.last("closed")),
            "computed": moment(computed),
        },
    }


def _uploaded(arm: Uploaded) -> dict[str, str]:
    """Return what is said of an arm's uploaded pictures, and the hash over them."""
    return {name: getattr(arm, name) for name in ("name", "model", "source", "licence", "pictures")}


def _subset(study: Study) -> dict[str, Any]:
    """Return the hashes of the first and the final subset, and the CLIP scores between which each stratum lies."""
    subset = study.subset
    if subset is None:
        return {"subset": None, "strata": {}}
    rows = list(
        SubsetPrompt.objects.filter(subset=subset)
        .order_by("prompt__index")
        .values_list("prompt__index", "stratum", "clip_score")
    )
    scores: dict[str, list[float]] = {}
    for _, stratum, score in rows:
        if stratum and score is not None:
            scores.setdefault(stratum, []).append(score)
    return {
        "subset": {
            "encoder": subset.encoder,
            "size": subset.size,
            "seed": subset.seed,
            "draw": subset.draw,
            # over the prompts' places in the set, ascending, one a line; of the final one with the stratum behind it
            "sha256": _sha256(str(index) for index, _, _ in rows),
            "final_sha256": _sha256(f"{index} {stratum}" for index, stratum, _ in rows if stratum),
        },
        "strata": {
            name: {"prompts": len(values), "lowest_clip_score": min(values), "highest_clip_score": max(values)}
            for name, values in scores.items()
        },
    }


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
