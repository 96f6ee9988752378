"""A prompt that cannot be drawn: set aside with its error, while the rest of the study is prepared without a person."""

from __future__ import annotations

from typing import Any

import pytest

from evenhand.generation import memory
from evenhand.studies.audit_in_words import sentence_of
from evenhand.studies.models import AuditEvent, Batch, Image, Pair, Prompt, Stage, Study, SubsetPrompt
from evenhand.studies.pipeline import stages
from tests.helpers.factories import make_draft

pytestmark = pytest.mark.django_db


class Poison:
    """A generator that fails wherever one prompt is among those to be drawn, by the baseline or by the other arms."""

    def __init__(self, prompt: Prompt, arms: int) -> None:
        self.prompt, self.arms, self.generate, self.calls = prompt, arms, memory.generate_within_memory, 0

    def __call__(
        self, pipeline: Any, prompts: list[str], seeds: list[int], arms: dict[str, Any], **options: Any
    ) -> Any:
        if len(arms) == self.arms and self.prompt.text in prompts:
            self.calls += 1
            raise RuntimeError("an assertion on the device failed")
        return self.generate(pipeline, prompts, seeds, arms, **options)


def drawn_first(study: Study) -> list[SubsetPrompt]:
    return list(SubsetPrompt.objects.filter(subset=study.subset).select_related("prompt").order_by("prompt__index"))


def prepared_up_to(study: Study, name: str) -> None:
    """Run all stages before the named one."""
    stages.prepare(study)
    while study.stages.get(name=name).state == Stage.State.WAITING:
        batch = stages.work_queue.claim(Batch, "gpu") or stages.work_queue.claim(Batch, "cpu")
        assert batch is not None
        stages.work_queue.run(batch, stages.HANDLER)
        stages.HANDLER.after(batch)
    study.refresh_from_db()


@pytest.mark.parametrize(("stage", "arms"), [("baseline", 1), ("arms", 2)])
def test_one_prompt_is_set_aside_and_the_study_becomes_ready(
    stage: str, arms: int, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.BACKOFF_SECONDS = 1e-6
    study = make_draft(name=f"Poisoned {stage}", subset_size=26)
    prepared_up_to(study, stage)
    members = [each for each in drawn_first(study) if stage == "baseline" or each.stratum]
    poison = Poison(members[5].prompt, arms)
    monkeypatch.setattr(memory, "generate_within_memory", poison)
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY
    assert poison.calls == 3 + 3  # the whole batch, then the prompt alone
    assert poison.prompt.pk not in {each.prompt_id for each in drawn_first(study)}
    assert [sum(each.stratum == name for each in drawn_first(study)) for name in ("high", "middle", "low")] == [4] * 3
    pairs = Pair.objects.filter(comparison__study=study)
    assert pairs.count() == 2 * 12
    assert not pairs.filter(prompt=poison.prompt).exists()
    assert not Image.objects.filter(prompt=poison.prompt, arm__in=study.comparisons.values("candidate")).exists()
    event = AuditEvent.objects.get(study=study, action="prompts left out")
    assert sentence_of(event) == (
        f"Left out 1 prompt that could not be drawn: “{poison.prompt.text}”, "
        "because RuntimeError: an assertion on the device failed"
    )


def test_a_score_that_cannot_be_computed_stops_the_stage_when_the_rest_is_done(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Without its score a picture cannot be placed in a stratum: a person decides. A new try begins anew."""
    from evenhand.studies.pipeline import pictures

    settings.BACKOFF_SECONDS = 1e-6
    study = make_draft(name="Unscored")
    prepared_up_to(study, "score")
    bad, real = drawn_first(study)[7].prompt, pictures.score_images

    def fails_for_one(images: list[Image], *rest: Any) -> list[str]:
        if any(image.prompt_id == bad.pk for image in images):
            raise RuntimeError("no number")
        return real(images, *rest)

    monkeypatch.setattr(pictures, "score_images", fails_for_one)
    stages.work_through()
    stage = study.stages.get(name="score")
    assert (stage.state, stage.done, stage.total) == ("failed", 23, 24)
    assert stage.error == "1 of 24 could not be done, the first one because: RuntimeError: no number"
    monkeypatch.setattr(pictures, "score_images", real)
    assert stages.retry(study) == 1
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY
