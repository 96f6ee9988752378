"""Taking back what is not yet data: a study returns to its draft or is deleted while nobody has answered."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies import undo
from evenhand.studies.drafts import change_draft, configuration_of
from evenhand.studies.lifecycle import close_study, open_study, pause_study
from evenhand.studies.models import (
    AuditEvent,
    Batch,
    Booklet,
    CheckPair,
    Comparison,
    Evaluator,
    Image,
    Pair,
    PromptSubset,
    Rating,
    Skip,
    Stage,
    Study,
    StudyVersion,
    SubsetPrompt,
    Trial,
)
from evenhand.studies.pipeline import stages
from evenhand.studies.rating.answers import Answer, skip_trial, store_answer
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.progress import open_trials
from evenhand.studies.revision import revise
from evenhand.studies.undo import UndoError, delete_study, duplicate, losses, return_to_draft, stop_preparation
from evenhand.studies.work import queue
from tests.helpers.factories import make_admin, make_draft, make_ready_study, small_configuration
from tests.helpers.stored import image_path

pytestmark = [pytest.mark.django_db, pytest.mark.database]
MADE = (Pair, CheckPair, Comparison, Stage, Batch, Booklet, Trial, Rating, Skip, Evaluator, PromptSubset, SubsetPrompt)


def answers_of(study: Study, *, simulated: bool, note: str = "") -> Evaluator:
    """Somebody who answers a pair, corrects the answer, and skips the next pair."""
    person = enrol(study, simulated=simulated, note=note)
    consent(person)
    trial = open_trials(person)[0]
    answer = Answer(trial.public_id, 1, uuid.uuid4(), 900, None, {})
    store_answer(person, answer)
    store_answer(person, Answer(trial.public_id, 2, uuid.uuid4(), 900, answer.key, {}))
    skip_trial(evaluator=person, trial_id=open_trials(person)[0].public_id, reason="skip")
    return person


def paused_study(**changes: Any) -> Study:
    study = make_ready_study(practice_trials=1, repeats=2, allow_correction=True, **changes)
    open_study(study)
    enrol(study, note="Grace")
    answers_of(study, simulated=True)
    pause_study(study)
    return study


def test_a_study_with_simulated_answers_returns_to_its_draft_and_keeps_its_pictures() -> None:
    study = paused_study()
    before = configuration_of(study)
    pictures = Image.objects.count()
    assert losses(study).sentence == "24 pairs, 2 simulated answers and 1 person’s link"
    return_to_draft(study, actor=study.owner)
    assert study.state == Study.State.DRAFT
    assert configuration_of(study) == before
    assert {model.__name__: model.objects.count() for model in MADE} == {model.__name__: 0 for model in MADE}
    assert Image.objects.count() == pictures
    event = AuditEvent.objects.get(action="returned to draft")
    assert event.detail["version_hash"] == before.sha256
    assert event.detail["deleted"] == "24 pairs, 2 simulated answers and 1 person’s link"
    change_draft(study=study, actor=study.owner, configuration=small_configuration(quota=7))
    study.refresh_from_db()
    assert configuration_of(study).quota == 7


def test_the_configuration_in_force_becomes_the_draft() -> None:
    study = paused_study()
    assert study.current_version is not None
    revise(study, actor=study.owner, read_as=study.current_version.number, quota=9)
    study.refresh_from_db()
    return_to_draft(study)
    assert configuration_of(study).quota == 9
    assert StudyVersion.objects.get(study=study).number == 1


@pytest.mark.parametrize("step", [return_to_draft, delete_study])
def test_a_study_that_people_have_rated_is_a_record(step: Callable[[Study], None]) -> None:
    study = make_ready_study(allow_correction=True)
    open_study(study)
    person = answers_of(study, simulated=False, note="Grace")
    pause_study(study)
    Evaluator.objects.filter(pk=person.pk).update(withdrawn_at="2026-01-01T00:00:00Z")
    for _ in range(2):
        with pytest.raises(UndoError, match="people have answered in “Shapes”: it is a record"):
            step(study)
        if study.state != Study.State.CLOSED:
            close_study(study)
    assert (Rating.objects.count(), Pair.objects.count()) == (2, 24)


@pytest.mark.parametrize("step", [return_to_draft, delete_study])
def test_an_open_study_is_paused_first(step: Callable[[Study], None]) -> None:
    study = make_ready_study()
    open_study(study)
    with pytest.raises(UndoError, match="pause it first"):
        step(study)
    assert Pair.objects.count() == 24


def test_a_deleted_study_leaves_its_name_its_prompts_and_the_other_studies() -> None:
    other = make_ready_study(name="Others")
    study = paused_study()
    people, kept = Evaluator.objects.count(), Pair.objects.filter(comparison__study=other).count()
    assert people == 2
    delete_study(study)
    assert list(Study.objects.all()) == [other]
    assert Pair.objects.count() == kept
    assert PromptSubset.objects.count() == 1
    assert study.prompt_set.prompts.count() == 60
    again = make_draft(owner=study.owner, name="Shapes again")
    Study.objects.filter(pk=again.pk).update(name="Shapes")


def test_a_draft_is_deleted_and_cannot_return_to_itself() -> None:
    study = make_draft()
    with pytest.raises(UndoError, match="is a draft"):
        return_to_draft(study)
    delete_study(study)
    assert not Study.objects.exists()


def test_a_copy_has_the_plan_and_nothing_else() -> None:
    study = paused_study()
    made = duplicate(study, name="Shapes, again", owner=make_admin("grace"))
    assert (made.state, made.owner.username, made.prompt_set) == (Study.State.DRAFT, "grace", study.prompt_set)
    assert configuration_of(made) == configuration_of(study)
    assert made.evaluators.count() == 0
    assert AuditEvent.objects.get(action="duplicated").detail == {"source": study.pk, "source_name": "Shapes"}


def test_a_preparation_is_stopped_planned_anew_and_prepared_to_the_end_with_the_same_pictures() -> None:
    study = make_draft(make_admin(), subset_size=20, per_stratum=2, steps=2)
    stages.prepare(study)
    while not Stage.objects.filter(study=study, name="baseline", state=Stage.State.RUNNING).exists():
        item = queue.claim(Batch, "gpu") or queue.claim(Batch, "cpu")
        assert item is not None
        queue.run(item, stages.HANDLER)
        stages.HANDLER.after(item)
    held = queue.claim(Batch, "gpu")  # a worker is in the middle of the first baseline pictures
    assert held is not None
    with pytest.raises(UndoError, match="stop the preparation first"):
        return_to_draft(study)
    stop_preparation(study)
    with pytest.raises(UndoError, match="no stage of “Shapes” is running"):
        stop_preparation(study)
    assert Stage.objects.get(study=study, name="baseline").error == undo.STOPPED
    assert queue.claim(Batch, "gpu") is None
    assert queue.run(held, stages.HANDLER) is False  # its lease is gone: it stores no end
    stages.retry(study)
    stages.work_through("gpu")
    first = {image.pk: image.sha256 for image in Image.objects.filter(state="done")}
    assert len(first) == 20
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY
    made = Image.objects.filter(state="done").count()

    return_to_draft(study)
    change_draft(
        study=study,
        actor=study.owner,
        configuration=small_configuration(subset_size=20, per_stratum=2, steps=2, quota=6),
    )
    study.refresh_from_db()
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY
    assert Image.objects.filter(state="done").count() == made  # the new plan wants the same ones
    assert Stage.objects.get(study=study, name="arms").evaluations == 0
    assert all(image_path(sha256).exists() for sha256 in first.values())
    assert Pair.objects.filter(comparison__study=study).count() == 12


def test_the_console_copies_changes_and_deletes(client: Client) -> None:
    ada = make_admin("ada")
    study = paused_study(owner=ada)
    client.force_login(ada)
    page = client.get(reverse("console:manage", args=[study.pk])).content.decode()
    assert "This deletes 24 pairs, 2 simulated answers and 1 person’s link." in page
    taken = client.post(reverse("console:copy", args=[study.pk]), {"name": "Shapes"})
    assert (taken.status_code, "There is a study “Shapes” already." in taken.content.decode()) == (400, True)
    copied = client.post(reverse("console:copy", args=[study.pk]), {"name": "Shapes II"})
    made = Study.objects.get(name="Shapes II")
    assert copied.headers["Location"] == reverse("console:change_plan", args=[made.pk])
    assert client.get(copied.headers["Location"]).status_code == 200

    refused = client.post(reverse("console:delete", args=[study.pk]), {"name": "shapes"}, follow=True)
    assert "type its name exactly" in refused.content.decode()
    drafted = client.post(reverse("console:act", args=[study.pk, "draft"]))
    assert drafted.headers["Location"] == reverse("console:change_plan", args=[study.pk])
    gone = client.post(reverse("console:delete", args=[study.pk]), {"name": "Shapes"}, follow=True)
    assert "“Shapes” is deleted." in gone.content.decode()
    assert list(Study.objects.all()) == [made]


def test_another_admin_cannot(client: Client) -> None:
    study = paused_study()
    client.force_login(make_admin("mallory"))
    for name in ("manage", "copy", "delete"):
        address = reverse(f"console:{name}", args=[study.pk])
        response = client.get(address) if name == "manage" else client.post(address, {"name": study.name})
        assert response.status_code == 404
    assert Study.objects.filter(pk=study.pk).exists()
