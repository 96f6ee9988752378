"""Records of pictures: one that is done never changes, and whoever lost the work writes none."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.utils import timezone

from evenhand.generation import memory
from evenhand.generation.guidance import ClassifierFree
from evenhand.generation.images import encode_png
from evenhand.studies.arms import arms_of
from evenhand.studies.drafts import configuration_of
from evenhand.studies.image_store import store_image
from evenhand.studies.models import Batch, Image, ImageScore, Prompt, ScoringPart, Stage, Study
from evenhand.studies.pipeline import model_cache, pictures, scorings, stages
from evenhand.studies.pipeline.context import Context
from evenhand.studies.work import queue
from evenhand.studies.work.queue import Claim, LeaseLost
from tests.helpers.factories import make_ready_study
from tests.helpers.stored import image_path

pytestmark = [pytest.mark.django_db, pytest.mark.database]
OUTSIDE = 50  # the index of a prompt of which there is no picture


@pytest.fixture
def study() -> Study:
    made = make_ready_study()
    assert made.recipe is not None
    made.recipe.revision = model_cache.checkpoint_revision("demo")
    made.recipe.save()
    return made


def draw_one(study: Study) -> Prompt:
    """Begin a stage that draws the baseline of one prompt."""
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    prompt = study.prompt_set.prompts.get(index=OUTSIDE)
    stage = Stage.objects.create(study=study, name="baseline", position=0, state=Stage.State.RUNNING, total=1)
    Batch.objects.create(stage=stage, number=0, queue="gpu", items=[prompt.pk], total=1)
    return prompt


def black(study: Study, prompt: Prompt) -> Image:
    """An unsaved record of the baseline's picture, of other bytes than the model draws."""
    assert study.recipe is not None
    run = {"size": {"height": 64, "width": 64}, "versions": {}}
    sha256 = store_image(encode_png(np.zeros((64, 64, 3), np.uint8)))
    return pictures.image_record(study.recipe, arms_of(study)[0], prompt, prompt.index, sha256, run)


def score(study: Study, *arms: ClassifierFree) -> set[str]:
    """Run a scoring; return the errors of its parts."""
    scoring = scorings.start(study, scorings.Request(arms=arms))
    queue.work_through({ScoringPart: scorings.HANDLER}, scorings.QUEUE)
    return set(ScoringPart.objects.filter(scoring=scoring).values_list("error", flat=True))


def test_a_scoring_replaces_no_picture_whose_file_is_lost(study: Study) -> None:
    """What was drawn here comes back with equal bytes; what cannot come back is named, and its record stays."""
    sweep = ClassifierFree(6.0)
    assert score(study, sweep) == {""}
    drawn = Image.objects.filter(arm__guidance__strength=6.0).order_by("pk")[0]
    data = image_path(drawn.sha256).read_bytes()
    image_path(drawn.sha256).unlink()
    assert score(study, sweep) == {""}
    assert image_path(drawn.sha256).read_bytes() == data

    records, scores = (list(kind.objects.order_by("pk").values()) for kind in (Image, ImageScore))
    coloured = arms_of(study)[1].images.order_by("pk")[0]  # by no model: its record does not say how
    image_path(coloured.sha256).unlink()
    (refusal,) = score(study) - {""}  # of the one prompt
    assert refusal.startswith("its record lacks prompt, seed, guidance")
    assert list(Image.objects.order_by("pk").values()) == records
    assert list(ImageScore.objects.order_by("pk").values()) == scores


def test_a_picture_that_another_worker_recorded_first_stays(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a scoring and a preparation draw the same one at once."""
    prompt, generate = draw_one(study), memory.generate_within_memory

    def overtaken(*arguments: Any, **options: Any) -> Any:
        drawn = generate(*arguments, **options)
        black(study, prompt).save()
        return drawn

    monkeypatch.setattr(memory, "generate_within_memory", overtaken)
    stages.work_through("gpu")
    assert Batch.objects.get().state == Batch.State.DONE
    assert Image.objects.get(prompt=prompt).sha256 == black(study, prompt).sha256


def test_a_worker_that_lost_its_batch_records_no_picture(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood still after its last report, and another worker took the batch and ended it."""
    prompt, generate = draw_one(study), memory.generate_within_memory

    def stood_still(*arguments: Any, **options: Any) -> Any:
        drawn = generate(*arguments, **options)
        Batch.objects.update(state=Batch.State.DONE, holder=None, lease_until=None, done=1)
        return drawn

    monkeypatch.setattr(memory, "generate_within_memory", stood_still)
    stages.work_through("gpu")
    assert not Image.objects.filter(prompt=prompt).exists()


def test_records_are_written_while_the_claim_is_confirmed(
    study: Study, django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one query more than the records take, however many there are."""
    prompt = draw_one(study)
    began = timezone.now()
    Batch.objects.update(state=Batch.State.LEASED, holder=uuid4(), lease_until=began)
    work = Context(study, configuration_of(study), Claim(Batch.objects.get()))
    others = list(study.prompt_set.prompts.filter(index__gt=OUTSIDE))
    images = [black(study, each) for each in (prompt, *others)]
    with django_assert_max_num_queries(4):  # begin and end of a savepoint, too
        pictures.record_images(work, images)
    assert Image.objects.filter(prompt__in=[prompt, *others]).count() == 1 + len(others)
    assert Batch.objects.filter(lease_until__gt=began).exists()
    Batch.objects.update(holder=uuid4())
    Image.objects.filter(prompt=prompt).delete()
    with pytest.raises(LeaseLost):
        pictures.record_images(work, images)
    assert not Image.objects.filter(prompt=prompt).exists()
