"""Compare the pictures of an arm with reference pictures in a space of features: FID, KID, CMMD and their kin.

A space is written ``clip``, ``inception`` or ``dinov2``, or with what it loads: ``inception=FILE``, ``dinov2=FOLDER``.
The libraries are imported inside the functions, because the web process only checks names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenhand.errors import InputError
from evenhand.studies.chosen_prompts import prompts_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Arm, ArmScore, Pair, Scoring
from evenhand.studies.pipeline import model_cache
from evenhand.studies.pipeline.scorers import parsed

if TYPE_CHECKING:
    from evenhand.metrics.extraction import Embedder
    from evenhand.metrics.pictures import Picture
    from evenhand.metrics.reference import Reference

SPACES = ("clip", "inception", "dinov2")
SCENES = "scenes"  # as a reference: the demo's captions, rendered
LEVEL = 0.95
DINOV2 = "facebook/dinov2-large"
NamedPictures = Sequence[tuple[str, "Picture"]]
Report = Callable[[int, int], None]


@lru_cache(maxsize=3)
def _embedder(space: str, configuration: StudyConfiguration, device: str) -> Embedder:
    kind, location = parsed(space, SPACES)
    if kind == "inception":
        from evenhand.metrics.inception import load_inception

        return load_inception(Path(location) if location else None, device=device)
    if kind == "dinov2":
        from evenhand.metrics.dinov2 import Dinov2

        return Dinov2(location or DINOV2, device=device)
    from evenhand.metrics.clip import ClipEmbedder, load_clip

    if not location:
        return ClipEmbedder(model_cache.clip(configuration))
    name, _, pretrained = location.partition(",")
    return ClipEmbedder(load_clip(name, pretrained or None, device=device))


def _statistics(
    pictures: Path | NamedPictures, space: str, configuration: StudyConfiguration, framing: Any, report: Report
) -> Reference:
    from evenhand.metrics.reference import reference_statistics

    embedder = _embedder(space, configuration, model_cache.device())
    folder = model_cache.features_folder() / "pictures"
    return reference_statistics(pictures, embedder, folder, framing=framing, with_features=True, progress=report)


def read_reference(scoring: Scoring, configuration: StudyConfiguration, space: str, report: Report) -> Reference:
    """Compute a scoring's reference features in a space, or read them where they are kept.

    Raises ``InputError`` for weights that cannot be loaded, and for a folder without usable pictures.
    """
    from evenhand.metrics.pictures import AS_IT_IS, Framing

    plan = scoring.plan
    width, height = _size_of(scoring)
    if plan["reference"] == SCENES:
        return _statistics(_rendered(scoring, width), space, configuration, AS_IT_IS, report)
    framing = Framing("centre", min(width, height)) if plan["crop"] else AS_IT_IS
    return _statistics(Path(plan["reference"]), space, configuration, framing, report)


def _size_of(scoring: Scoring) -> tuple[int, int]:
    """Return the size of the study's pictures, pixels (width, height); of uploaded ones the smallest."""
    recipe = scoring.study.recipe
    if recipe is not None:
        return recipe.width, recipe.height
    sizes = Pair.objects.filter(comparison__study=scoring.study_id).values_list(
        "baseline_image__width", "baseline_image__height"
    )
    return min(sizes.distinct(), key=lambda size: (min(size), size))


def _rendered(scoring: Scoring, size: int) -> NamedPictures:
    """Render the captions of the scoring's prompts, of one seed. Raises ``InputError`` where one is no scene's."""
    import numpy as np

    from evenhand.demo import scenes

    rng = np.random.default_rng(0)
    pictures = []
    for index, text in prompts_of(scoring.study, scoring.plan["prompts"]).values_list("index", "text"):
        try:
            placed = scenes.place(scenes.parse(text), rng)
        except ValueError as error:
            raise InputError(
                f"prompt {index} describes no scene of the demo's, and cannot be rendered: {error}"
            ) from error
        pictures.append((f"scene {index}", scenes.render(placed, size)[0]))
    return pictures


def compare_arm(
    scoring: Scoring,
    configuration: StudyConfiguration,
    arm: Arm,
    space: str,
    pictures: NamedPictures,
    report: Report,
) -> None:
    """Store an arm's distances to the reference in a space. Raises ``InputError`` where there are too few pictures."""
    from evenhand.metrics.pictures import AS_IT_IS

    reference = read_reference(scoring, configuration, space, lambda _done, _total: None)
    own = _statistics(pictures, space, configuration, AS_IT_IS, report)
    network = _embedder(space, configuration, model_cache.device()).name
    shared = {
        "network": network,
        "reference": {"name": _reference_name(scoring), "sha256": reference.key, "n": reference.gaussian.count},
        "findings": own.findings.sentences(),
        "reference_findings": reference.findings.sentences(),
    }
    count = own.gaussian.count
    kind = parsed(space, SPACES)[0]
    rows = [
        ArmScore(
            scoring=scoring,
            arm=arm,
            metric=f"{name}:{kind}",
            value=value,
            low=low,
            high=high,
            n=count,
            detail=shared | detail,
        )
        for name, value, low, high, detail in _measures(kind, own, reference)
    ]
    ArmScore.objects.filter(scoring=scoring, arm=arm, metric__endswith=f":{kind}").delete()
    ArmScore.objects.bulk_create(rows)


def _reference_name(scoring: Scoring) -> str:
    reference: str = scoring.plan["reference"]
    return "rendered scenes" if reference == SCENES else Path(reference).name


def _measures(
    kind: str, own: Reference, reference: Reference
) -> Iterator[tuple[str, float, float | None, float | None, dict[str, Any]]]:
    """Yield name, value, interval and details of each measure that belongs to a space."""
    from evenhand.metrics.extrapolation import extrapolated
    from evenhand.metrics.fid import fid
    from evenhand.metrics.frechet import FrechetTarget
    from evenhand.metrics.kernels import cmmd, kid

    mine, theirs = _main(own), _main(reference)
    target = FrechetTarget(reference.gaussian)
    distance = fid(target, mine)
    yield "frechet", distance.distance, None, None, {"warnings": list(distance.warnings)}
    if len(mine) >= 12:
        line = extrapolated(target, mine)
        detail = {"standard_error": line.standard_error, "sizes": line.sizes, "draws": line.draws, "seed": line.seed}
        yield "frechet_infinite", line.value, None, None, detail
    if kind == "inception":
        apart = kid(mine, theirs)
        detail = {"biased": apart.biased, "level": LEVEL, "drawn": apart.drawn}
        yield "kid", apart.unbiased, *apart.interval(LEVEL), detail
        yield from _inception_score(own)
    if kind == "clip":
        apart = cmmd(mine, theirs)
        yield "cmmd", apart.biased, None, None, {"drawn": apart.drawn}
        yield "cmmd_unbiased", apart.unbiased, *apart.interval(LEVEL), {"level": LEVEL, "drawn": apart.drawn}


def _main(statistics: Reference) -> Any:
    """Return the features that distances are computed from, (n, d)."""
    assert statistics.features is not None  # they were asked for
    return next(iter(statistics.features.values()))


def _inception_score(own: Reference) -> Iterator[tuple[str, float, None, None, dict[str, Any]]]:
    from evenhand.metrics.inception import inception_score

    assert own.features is not None  # asked for
    logits = own.features["logits_unbiased"]
    if len(logits) < 10:
        return
    score = inception_score(logits)
    detail = {
        "population_sd": score.population_sd,
        "sample_sd": score.sample_sd,
        "splits": score.splits,
        "seed": score.seed,
    }
    yield "inception_score", score.mean, None, None, detail
