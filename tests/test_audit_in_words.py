"""Every event in words, by kind, and as CSV; invitations, simulations and downloads are recorded."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from evenhand.studies import audit, lifecycle
from evenhand.studies.audit_in_words import KIND_OF, SENTENCES, sentence_of
from evenhand.studies.exclusions import exclude, lift
from evenhand.studies.models import AuditEvent, Study
from evenhand.studies.simulation.deciders import enrol_simulated
from tests.helpers.factories import make_draft, make_member, make_ready_study

pytestmark = [pytest.mark.django_db, pytest.mark.database]
STUDIES = Path(audit.__file__).parent


@pytest.fixture
def study(client: Client) -> Study:
    """A study with a life, whose owner is logged in."""
    made = make_ready_study()
    client.force_login(made.owner)
    lifecycle.open_study(made, actor=made.owner, accept_odd_pairs=True)
    client.post(reverse("console:invite", args=[made.pk]), {"count": 3, "note": "Grace"})
    enrol_simulated(made, 2)
    person = made.evaluators.first()
    assert person is not None
    exclude(person, reason="pressed one key", actor=made.owner, free=True)
    lift(person, actor=made.owner)
    for name in ("preferences", "people_csv", "links_csv", "pairs_csv"):
        b"".join(client.get(reverse(f"console:{name}", args=[made.pk])).streaming_content)  # type: ignore[attr-defined]
    return made


def test_every_action_that_is_recorded_has_words_and_a_kind() -> None:
    text = "".join(path.read_text() for path in STUDIES.rglob("*.py"))
    written = set(re.findall(r'(?<!def )(?:audit\.record|_step)\(\s*[\w.]+,\s*"([^"]+)"', text))
    assert {"opened", "prepared", "unknown_words", "check pair exchanged", "member added"} <= written
    assert written <= set(SENTENCES)
    assert set(SENTENCES) == set(KIND_OF)


def test_the_page_says_what_happened(client: Client, study: Study) -> None:
    page = client.get(reverse("console:audit_log", args=[study.pk])).content.decode()
    said = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", page)][2::3]
    person = study.evaluators.first()
    assert person is not None
    assert said[:-2] == [
        "Downloaded pairs.csv",
        "Downloaded the personal links",
        "Downloaded people.csv, which names evaluators",
        "Downloaded preferences.csv",
        f"Counted evaluator e{person.pk} again",
        f"Gave 0 pairs of evaluator e{person.pk} to others",
        f"Left out evaluator e{person.pk}: pressed one key",
        "Enrolled 2 simulated evaluators",
        "Made 3 personal links",
    ]
    assert said[-2] == "Opened for evaluators"
    assert said[-1].startswith("Created the study, configuration ")
    assert "Grace" not in page


def test_one_kind_and_as_csv(client: Client, study: Study) -> None:
    address = reverse("console:audit_log", args=[study.pk])
    page = client.get(address, {"kind": "files"}).content.decode()
    assert "Downloaded pairs.csv" in page
    assert "personal links</td>" in page
    assert "Opened for evaluators" not in page
    assert client.get(address, {"kind": "gossip"}).status_code == 404
    response = client.get(reverse("console:audit_csv", args=[study.pk]), {"kind": "evaluators"})
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["action"] for row in rows] == ["exclusion lifted", "places freed", "excluded", "simulated", "invited"]
    assert {row["kind"] for row in rows} == {"evaluators"}
    assert [row["actor"] for row in rows] == [study.owner.username] * 3 + ["the application", study.owner.username]


def test_the_page_takes_few_queries_and_has_pages(
    client: Client, study: Study, django_assert_max_num_queries: Any
) -> None:
    for number in range(120):
        audit.record(study, audit.TABLE, actor=study.owner, table=f"table{number}")
    client.force_login(make_member(study, "viewer"))
    with django_assert_max_num_queries(12):
        page = client.get(reverse("console:audit_log", args=[study.pk])).content.decode()
    assert page.count("<tr>") == 101
    assert "page=2" in page


def test_a_download_by_the_command_is_recorded_and_the_codebook_is_none() -> None:
    study = make_draft()
    call_command("export_preferences", study.name, stdout=io.StringIO())
    call_command("export_preferences", codebook=True, stdout=io.StringIO())
    event = AuditEvent.objects.get(action=audit.TABLE)
    assert (event.actor, event.detail) == (None, {"table": "preferences"})


@pytest.mark.parametrize("detail", [{}, {"version_hash": None}, {"version_hash": 3}])
def test_an_event_of_another_form_is_shown_as_it_is(detail: dict[str, Any]) -> None:
    assert sentence_of(AuditEvent(action="created", detail=detail)).startswith("Created")
    odd = AuditEvent(action="opened", detail={"accepted": ["2 pairs of equal pictures", "1 of one colour"]})
    assert sentence_of(odd) == "Opened for evaluators, although it had 2 pairs of equal pictures and 1 of one colour"
    assert sentence_of(AuditEvent(action="something_new", detail={"a": 1})) == 'Something new {"a": 1}'
