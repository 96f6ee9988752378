"""Hold uploaded pictures that stand beside generated ones against the prompts and the size of the study."""

from __future__ import annotations

from collections.abc import Sequence

from evenhand.errors import InputError
from evenhand.generation.guidance import fingerprint
from evenhand.studies.chosen_prompts import prompts_of, seed_of
from evenhand.studies.configuration import StudyConfiguration, arm_label
from evenhand.studies.models import Arm, Image, Prompt, Study

NAMED = 5


def check_brought(study: Study, configuration: StudyConfiguration) -> None:
    """Refuse a study whose uploaded arms lack a picture of a final prompt, or have one of another size.

    Records of pictures that were uploaded under another seed of the study are copied to its present one, so that they
    are found with the generated ones. Raises ``InputError`` that names arms, counts and the first prompts.
    """
    if not configuration.brought or configuration.ready_made:
        return
    assert study.recipe is not None  # the prompts stage set it
    prompts = list(prompts_of(study, "final"))
    size = study.recipe.width, study.recipe.height
    problems = []
    for guidance in configuration.brought:
        arm = Arm.objects.get(fingerprint=fingerprint(guidance))
        images = _images(arm, prompts)
        problems += _problems(arm_label(guidance), prompts, images, size)
        _give_seeds(list(images.values()), configuration)
    if problems:
        raise InputError("; ".join(problems))


def _images(arm: Arm, prompts: Sequence[Prompt]) -> dict[int, Image]:
    """Return an arm's pictures by prompt, the newest of each."""
    found = Image.objects.filter(
        arm=arm, prompt__in=[prompt.pk for prompt in prompts], kind=Image.Kind.UPLOADED, state=Image.State.DONE
    )
    return {image.prompt_id: image for image in found.select_related("prompt").order_by("pk")}


def _problems(name: str, prompts: Sequence[Prompt], images: dict[int, Image], size: tuple[int, int]) -> list[str]:
    missing = [prompt.index for prompt in prompts if prompt.pk not in images]
    odd = [image.prompt.index for image in images.values() if (image.width, image.height) != size]
    found = []
    if missing:
        found.append(
            f"“{name}” has no picture of {len(missing)} of the {len(prompts)} prompts of the final subset: "
            f"{_first(missing)}"
        )
    if odd:
        found.append(
            f"{len(odd)} pictures of “{name}” are not {size[0]}×{size[1]} as the generated ones are: {_first(odd)}"
        )
    return found


def _first(indices: Sequence[int]) -> str:
    rest = len(indices) - NAMED
    return f"prompts {', '.join(map(str, sorted(indices)[:NAMED]))}" + (f" and {rest} more" if rest > 0 else "")


def _give_seeds(images: Sequence[Image], configuration: StudyConfiguration) -> None:
    copies = []
    for image in images:
        seed = seed_of(image.prompt, configuration)
        if image.seed != seed:
            image.pk, image.seed = None, seed
            copies.append(image)
    Image.objects.bulk_create(copies, ignore_conflicts=True)
