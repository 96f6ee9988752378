"""Say by which recipe each arm of a study is drawn, and find its pictures.

An arm is drawn by the study's recipe, unless it names another checkpoint (``OtherCheckpoint``). The recipe of such an
arm is stored beside it (``ArmRecipe``) once a worker has read the checkpoint. Uploaded pictures have no recipe.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q

from evenhand.generation.guidance import Guidance, OtherCheckpoint, Uploaded
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Arm, ArmRecipe, Image, Recipe, Study


@dataclass(frozen=True)
class RecipePart:
    """What a recipe has of its own beside the study's size and batch."""

    checkpoint: str
    scheduler: str
    steps: int
    dtype: str


def part_of(configuration: StudyConfiguration, guidance: Guidance) -> RecipePart:
    """Return by what an arm is drawn."""
    own = RecipePart(configuration.checkpoint, configuration.scheduler, configuration.steps, configuration.dtype)
    if not isinstance(guidance, OtherCheckpoint):
        return own
    return RecipePart(
        guidance.checkpoint,
        guidance.scheduler or own.scheduler,
        guidance.steps or own.steps,
        guidance.dtype or own.dtype,
    )


def drawn(guidance: Guidance) -> Guidance:
    """Return the guidance that ``generate`` takes: without the checkpoint."""
    return guidance.guidance if isinstance(guidance, OtherCheckpoint) else guidance


def arms_by_part(configuration: StudyConfiguration) -> dict[RecipePart, list[Guidance]]:
    """Return the guidances that ``generate`` takes, by what draws them; the study's own recipe first."""
    found: dict[RecipePart, list[Guidance]] = {part_of(configuration, configuration.baseline): []}
    for guidance in configuration.arms:
        if isinstance(guidance, Uploaded):
            continue
        found.setdefault(part_of(configuration, guidance), []).append(drawn(guidance))
    return found


def recipes_of(study: Study, arms: list[Arm]) -> dict[int, tuple[Recipe, list[Arm]]]:
    """Return the recipes that draw these arms, by number, each with its arms; only for prepared studies.

    Arms of uploaded pictures are left out.
    """
    assert study.recipe is not None
    others = {row.arm_id: row.recipe for row in ArmRecipe.objects.filter(study=study).select_related("recipe")}
    found: dict[int, tuple[Recipe, list[Arm]]] = {}
    for arm in arms:
        if isinstance(arm.to_guidance(), Uploaded):
            continue
        recipe = others.get(arm.pk, study.recipe)
        found.setdefault(recipe.pk, (recipe, []))[1].append(arm)
    return found


def made_for(study: Study, prefix: str = "") -> Q:
    """Return the condition that an image's recipe is the one that draws its arm in this study, or that it was uploaded.

    prefix: the way from the rows to the image, such as ``image__``. Uploaded pictures have no recipe; a study of them
    alone has none either.
    """
    own = ArmRecipe.objects.filter(study=study, arm=OuterRef(f"{prefix}arm"))
    others = own.filter(recipe=OuterRef(f"{prefix}recipe"))
    made = Q(~Exists(own), **{f"{prefix}recipe": study.recipe_id}) | Q(Exists(others))
    if study.recipe_id is None or not configuration_of(study).brought:
        return made
    candidates = study.comparisons.order_by().values("candidate")
    baselines = study.comparisons.order_by().values("baseline")
    of_its_arms = Q(**{f"{prefix}arm__in": candidates}) | Q(**{f"{prefix}arm__in": baselines})
    return made | Q(of_its_arms, **{f"{prefix}kind": Image.Kind.UPLOADED})
