"""A picture that the pipeline's own code made, with its record."""

from __future__ import annotations

from uuid import uuid4

from django.utils import timezone

from evenhand.generation.guidance import Guidance, fingerprint
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Arm, Image, Recipe
from evenhand.studies.pipeline import model_cache, pictures
from evenhand.studies.pipeline.context import Context
from evenhand.studies.work.queue import Claim
from tests.helpers.factories import make_draft


def made(checkpoint: str, guidance: Guidance, scheduler: str) -> Image:
    """The second of three prompts' pictures, made by the stage's own code in one batch of four."""
    study = make_draft(checkpoint=checkpoint)
    recipe = Recipe.objects.create(
        checkpoint=checkpoint,
        revision=model_cache.checkpoint_revision(checkpoint),
        scheduler=scheduler,
        steps=2,
        height=16,
        width=16,
        dtype="float32",
        batch_size=4,
    )
    arm = Arm.objects.create(label=guidance.label(), guidance=guidance.to_dict(), fingerprint=fingerprint(guidance))
    prompts = list(study.prompt_set.prompts.all()[:3])
    for prompt, text in zip(prompts, ("a cat", "a red star", "the dog"), strict=True):
        prompt.text = text
        prompt.save()
    stage = study.stages.create(name="arms", position=0, total=3)
    lease = {"state": "leased", "holder": uuid4(), "lease_until": timezone.now()}
    batch = stage.batches.create(number=0, items=[], total=3, queue="gpu", **lease)
    context = Context(study, configuration_of(study), Claim(batch))
    pictures.generate_images(context, recipe, prompts, [arm])
    return Image.objects.get(prompt__index=1)
