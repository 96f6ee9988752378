"""Name metrics as records and as pages do."""

from __future__ import annotations

from dataclasses import dataclass

# Stored as scores of 1, so that pictures which are odd can be counted and named.
ONE_COLOUR = "flag:one_colour"
NOT_FINITE = "flag:not_finite"
FLAG, SAFETY = "flag:", "safety:"

FAMILIES = {
    "frechet": "Fréchet distance",
    "frechet_infinite": "Fréchet distance∞",
    "kid": "KID",
    "cmmd": "CMMD",
    "cmmd_unbiased": "CMMD (unbiased)",
    "inception_score": "Inception Score",
    "clip": "CLIP score",
    "pickscore": "PickScore",
    "hps": "HPS",
}
OWN_TITLES = {  # of a measure in a space
    "frechet:inception": "FID",
    "frechet_infinite:inception": "FID∞",
    "frechet:dinov2": "FD-DINOv2",
    "frechet_infinite:dinov2": "FD∞-DINOv2",
    "frechet:clip": "Fréchet distance (CLIP)",
    "frechet_infinite:clip": "Fréchet distance∞ (CLIP)",
    "kid:inception": "KID",
    "cmmd:clip": "CMMD",
    "cmmd_unbiased:clip": "CMMD (unbiased)",
    "inception_score:inception": "Inception Score",
}
LOWER_IS_BETTER = ("frechet", "frechet_infinite", "kid", "cmmd", "cmmd_unbiased")


@dataclass(frozen=True)
class ScoreName:
    """A metric's name in words, and whether more of it is meant to be better."""

    title: str
    higher_is_better: bool


def in_words(metric: str) -> ScoreName:
    """Return a stored metric's name in words; an unknown one keeps its name, and is taken to be better when higher."""
    family, _, rest = metric.partition(":")
    if metric in OWN_TITLES:
        return ScoreName(OWN_TITLES[metric], family not in LOWER_IS_BETTER)
    title = FAMILIES.get(family, metric)
    if rest and family in FAMILIES:
        title = f"{title} ({rest})"
    return ScoreName(title, family not in LOWER_IS_BETTER)
