"""A panel's table beside a study's people: everybody in one list, and files of whom to approve and pay."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from evenhand.errors import InputError
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Study, Trial
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.reconciling import Here, Submission, read_submissions, reconcile
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import rate

LISTS = ("both", "only_here", "only_there", "wrong_code", "unknown", "neither")
STATUSES = ("APPROVED", "AWAITING REVIEW", "RETURNED", "TIMED-OUT", "")


@given(
    st.dictionaries(st.integers(0, 12), st.booleans()),
    st.dictionaries(st.integers(0, 12), st.tuples(st.sampled_from(STATUSES), st.sampled_from((None, "", "C", "X")))),
)
def test_everybody_stands_in_exactly_one_list(here: dict[int, bool], there: dict[int, tuple[str, str | None]]) -> None:
    people = [Here(n, str(n), f"p{n}", "", complete, "C") for n, complete in here.items()]
    rows = [Submission(f"p{n}", status, code) for n, (status, code) in there.items()]
    found = reconcile(people, rows)
    listed = [(each.here or each.there).person for name in LISTS for each in getattr(found, name)]
    assert sorted(listed) == sorted(f"p{n}" for n in here.keys() | there.keys())
    assert all(each.here and each.here.complete for each in found.both)
    assert {each.pk for each in found.to_approve} <= {n for n, complete in here.items() if complete}


def test_columns_are_found_whatever_their_case() -> None:
    table = "\ufeffSubmission id;PARTICIPANT_ID;Status;Completion code\r\n1;a;RETURNED;\r\n2;a;Approved;C\r\n3;b;;\r\n"
    assert read_submissions(table.encode()) == [Submission("a", "Approved", "C"), Submission("b", "", "")]
    assert read_submissions(b"visitor,status\nx,Completed\n", "Visitor") == [Submission("x", "Completed", None)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "it has: none"),
        (b"name,status\nx,y\n", "person's id; it has: name, status"),
        (b"participant id\nx\n", "no column of the table is a status"),
        (b"participant id,status\n,approved\n", "no row"),
        ("Größe,status\n".encode("latin-1"), "UTF-8"),
    ],
)
def test_a_wrong_table_is_refused_with_the_reason(table: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_submissions(table)


@pytest.fixture
def study(db: None) -> Study:
    study = make_ready_study(owner=make_admin("ada"), quota=24, completion_code="C0FFEE")
    open_study(study)
    return study


def person(study: Study, key: str, *, complete: bool) -> Evaluator:
    made = enrol(study, external_key=key)
    consent(made)
    if complete:
        rate(Trial.objects.filter(booklet__evaluator=made).order_by("position")[0], 1)
        Evaluator.objects.filter(pk=made.pk).update(finished_at=timezone.now())
    return made


def test_the_five_lists_and_the_files(study: Study, client: Client) -> None:
    both, missing, *_ = (
        person(study, key, complete=complete)
        for key, complete in (("both", True), ("missing", True), ("early", False), ("wrong", True))
    )
    client.force_login(study.owner)
    address = reverse("console:reconcile", args=[study.pk])
    table = (
        "Participant id,Status,Completion code\nboth,AWAITING REVIEW,C0FFEE\nearly,APPROVED,\n"
        "wrong,AWAITING REVIEW,NOCODE\nstranger,APPROVED,C0FFEE\n"
    )

    def sent(**data: Any) -> Any:
        return client.post(address, data)

    page = sent(table=SimpleUploadedFile("prolific.csv", table.encode()))
    lists = {name: [(each.here or each.there).person for each in matches] for name, _, matches in page.context["lists"]}
    assert lists == {
        "both": ["both"],
        "only_here": ["missing"],
        "only_there": ["early"],
        "wrong_code": ["wrong"],
        "unknown": ["stranger"],
    }
    assert page.context["approve"] == {both.pk}
    assert sent(file="approve", person=[both.pk, missing.pk]).content == b"both\nmissing\n"
    assert sent(file="bonus", person=[both.pk], amount="1,5").content == b"both,1.50\n"
    endless = {"file": "approve", "person": ["9" * 30]}
    for wrong_one in ({"file": "bonus", "person": [both.pk], "amount": "NaN"}, {"file": "approve"}, endless, {}):
        assert sent(**wrong_one)["Location"] == address
    actions = list(study.events.order_by("at").values_list("action", flat=True))
    assert actions[-3:] == ["panel compared", "panel file written", "panel file written"]
    assert Evaluator.objects.filter(study=study, freed_at=None, exclusions=None).count() == 4
