"""The people page: found by words and states, changed one by one, told to roles by their rights."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from evenhand.studies.access import link_for
from evenhand.studies.assignment.reassignment import trials_left_behind
from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Booklet, Evaluator, Membership, Rating, Study, Trial
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.factories import make_admin, make_member, make_ready_study
from tests.helpers.ratings import queries_of, rate

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"), quota=24)
    open_study(study)
    return study


@pytest.fixture
def console(client: Client, study: Study) -> Client:
    client.force_login(study.owner)
    return client


def begun(study: Study, note: str, **values: Any) -> Evaluator:
    person = enrol(study, note=note, **values)
    consent(person)
    return person


def found(console: Client, study: Study, **asked: str) -> list[str]:
    page = console.get(reverse("console:people", args=[study.pk]), asked)
    return [line.person.note for line in page.context["people"]]


def change(console: Client, name: str, person: Evaluator, **data: str) -> Any:
    return console.post(reverse(f"console:{name}", args=[person.study_id, person.pk]), data)


def test_people_are_found_by_words_and_by_states(study: Study, console: Client) -> None:
    enrol(study, note="Invited")
    rating, silent, done = begun(study, "Grace"), begun(study, "Alan", external_key="5f2d"), begun(study, "Mary")
    long_ago = timezone.now() - timedelta(minutes=configuration_of(study).lease_minutes + 1)
    Booklet.objects.filter(evaluator=silent).update(claimed_at=long_ago)
    Evaluator.objects.filter(pk=done.pk).update(finished_at=timezone.now())
    rate(Trial.objects.filter(booklet__evaluator=rating)[0], 1)
    assert found(console, study) == ["Mary", "Alan", "Grace", "Invited"]
    assert found(console, study, sort="note") == ["Alan", "Grace", "Invited", "Mary"]
    assert found(console, study, sort="answers")[0] == "Grace"
    assert found(console, study, q="gra") == ["Grace"]
    assert found(console, study, q="5F2") == ["Alan"]
    for state, notes in (("invited", ["Invited"]), ("rating", ["Grace"]), ("silent", ["Alan"]), ("finished", ["Mary"])):
        assert found(console, study, state=state) == notes
    assert found(console, study, state="left out") == []
    change(console, "exclusion", rating, reason="slept")
    assert found(console, study, state="left out") == ["Grace"]


def test_a_note_is_changed_and_a_link_is_revoked(study: Study, console: Client) -> None:
    grace = enrol(study, note="Grace")
    old = link_for(grace)
    answer = change(console, "change_note", grace, note=" Grace H. ", query="page=2&q=gra")
    assert answer["Location"].endswith(f"/studies/{study.pk}/people/?page=2&q=gra")
    change(console, "change_note", grace, note="x" * 101)
    grace.refresh_from_db()
    assert grace.note == "Grace H."
    assert Client().get(old).status_code == 200
    change(console, "renew_personal_link", grace)
    grace.refresh_from_db()
    assert Client().get(old).status_code == 404
    assert Client().get(link_for(grace)).status_code == 200
    actions = list(study.events.order_by("at").values_list("action", flat=True))
    assert actions[-2:] == ["note changed", "personal link renewed"]


def test_a_place_is_freed_by_hand_and_answers_stay(study: Study, console: Client) -> None:
    grace = begun(study, "Grace")
    first = Trial.objects.filter(booklet__evaluator=grace).order_by("position")[0]
    rating = rate(first, 1)
    Rating.objects.filter(pk=rating.pk).update(slot=first.slot)
    assert not trials_left_behind(study).exists()
    change(console, "change_place", grace)
    change(console, "change_place", grace)
    assert trials_left_behind(study).count() == 11
    assert Rating.objects.get(pk=rating.pk).slot == first.slot
    change(console, "change_place", grace, keep="1")
    assert not trials_left_behind(study).exists()
    assert study.events.filter(action="open pairs freed").count() == 1
    Evaluator.objects.filter(pk=grace.pk).update(finished_at=timezone.now())
    change(console, "change_place", grace)
    grace.refresh_from_db()
    assert grace.freed_at is None


def test_twelve_queries_for_any_number_of_people(study: Study, console: Client) -> None:
    begun(study, "Grace")
    address = reverse("console:people", args=[study.pk])
    few = queries_of(lambda: console.get(address))
    for n in range(6):
        begun(study, f"person {n}")
    assert queries_of(lambda: console.get(address)) == few <= 12


def test_panel_ids_and_links_are_told_by_rights(study: Study, client: Client) -> None:
    grace = begun(study, "Grace", external_key="5f2d-of-the-panel")
    address = reverse("console:people", args=[study.pk])
    for name, link, panel in (("collaborator", True, False), ("viewer", False, False)):
        user = make_admin(name)
        Membership.objects.create(study=study, user=user, role=name)
        client.force_login(user)
        page = client.get(address).content.decode()
        assert (link_for(grace) in page, "5f2d-of" in page) == (link, panel)
        assert not client.get(address, {"q": "5f2d"}).context["people"]
        assert client.get(reverse("console:reconcile", args=[study.pk])).status_code == 403
    assert change(client, "change_note", grace, note="x").status_code == 403  # a viewer
    client.force_login(study.owner)
    assert "5f2d-of" in client.get(address).content.decode()
    client.force_login(make_admin("mallory"))
    assert client.get(address).status_code == 404


def test_whoever_is_not_shown_notes_does_not_find_people_by_them(study: Study, client: Client) -> None:
    grace, alan = begun(study, "Grace Hopper"), begun(study, "Alan Turing")
    for role, finds, label in (("viewer", [], "Name"), ("collaborator", ["Grace Hopper"], "Note or name")):
        client.force_login(make_member(study, role))
        assert found(client, study, q="hopper") == finds
        assert found(client, study, q=grace.public_id[:6]) == ["Grace Hopper"]
        page = client.get(reverse("console:people", args=[study.pk]), {"sort": "note"})
        assert re.search(rf'<label for="search">\s*{label}\s*</label>', page.content.decode())
        assert page.context["sort"] == ("note" if finds else "newest")
    assert alan.public_id != grace.public_id


def test_nul_in_words_is_left_out(study: Study, console: Client) -> None:
    grace = begun(study, "Grace")
    assert found(console, study, q="gra\0") == ["Grace"]
    change(console, "exclusion", grace, reason="sle\0pt")
    assert grace.exclusions.get().reason == "slept"
