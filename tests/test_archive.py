"""A study leaves the list of studies and comes back; nothing else changes."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from evenhand.studies.lifecycle import (
    LifecycleError,
    archive_study,
    open_study,
    pause_study,
    restore_study,
    resume_study,
)
from evenhand.studies.models import Study
from tests.helpers.factories import make_admin, make_draft, make_ready_study

pytestmark = pytest.mark.django_db


def listed(client: Client, query: str = "") -> str:
    return client.get(reverse("console:studies") + query).content.decode()


def test_an_archived_study_is_listed_apart(client: Client) -> None:
    ada = make_admin("ada")
    old, new = make_draft(name="Old", owner=ada), make_draft(name="New", owner=ada)
    client.force_login(ada)
    assert "Archived" not in listed(client)
    client.post(reverse("console:act", args=[old.pk, "archive"]))
    page = listed(client)
    assert ">New</a>" in page
    assert ">Old</a>" not in page
    apart = listed(client, "?archived=1")
    assert ">Old</a>" in apart
    assert ">New</a>" not in apart
    assert client.get(reverse("console:study", args=[old.pk])).status_code == 200
    assert "Put it back" in client.get(reverse("console:manage", args=[old.pk])).content.decode()
    client.post(reverse("console:act", args=[old.pk, "restore"]))
    assert ">Old</a>" in listed(client)
    assert [event.action for event in old.events.order_by("at")][-2:] == ["archived", "restored"]
    assert new.archived_at is None


def test_a_study_at_work_stays_in_the_list() -> None:
    study = make_ready_study()
    open_study(study)
    with pytest.raises(LifecycleError, match="collecting; a draft, a ready or a closed study can be archived"):
        archive_study(study)
    with pytest.raises(LifecycleError, match="is not archived"):
        restore_study(study)


def test_the_command_does_it_too() -> None:
    study = make_draft(name="Old")
    call_command("study", "archive", study.name)
    with pytest.raises(LifecycleError, match="archived already"):
        archive_study(Study.objects.get(pk=study.pk))
    call_command("study", "restore", study.name)
    study.refresh_from_db()
    assert study.archived_at is None


def test_an_archived_study_is_put_back_before_it_is_opened() -> None:
    study = make_ready_study()
    archive_study(study)
    with pytest.raises(LifecycleError, match="is archived: put it back into the list first"):
        open_study(study)
    restore_study(study)
    open_study(study)
    assert study.state == Study.State.COLLECTING


def test_a_study_that_cannot_be_opened_yet_gets_no_booklets() -> None:
    study = make_ready_study()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    with pytest.raises(LifecycleError, match="is preparing; only a study that is ready can be opened"):
        open_study(study)
    assert study.booklets.count() == 0


def test_a_step_that_cannot_be_recorded_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_ready_study()
    open_study(study)
    pause_study(study)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the log cannot be written")

    monkeypatch.setattr("evenhand.studies.audit.record", refuse)
    with pytest.raises(OSError, match="the log cannot be written"):
        resume_study(study)
    assert Study.objects.get(pk=study.pk).state == Study.State.PAUSED
