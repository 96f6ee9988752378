"""Tokens and ownership: what opens what."""

from __future__ import annotations

import string

import pytest
from django.http import Http404
from django.test import override_settings

from evenhand.studies.access import evaluator_for, link_for, studies_of, study_of, token_for
from evenhand.studies.models import Evaluator
from evenhand.studies.models.responses import new_nonce, new_public_id
from evenhand.studies.rating.enrolment import enrol
from tests.helpers.factories import make_admin, make_draft, make_ready_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def grace() -> Evaluator:
    return enrol(make_ready_study(), note="Grace")


def test_a_token_opens_its_evaluator_and_can_be_shown_again(grace: Evaluator) -> None:
    assert evaluator_for(token_for(grace)) == grace
    assert token_for(grace) == token_for(Evaluator.objects.get(pk=grace.pk))
    assert link_for(grace) == f"/e/{token_for(grace)}/"


def test_the_database_alone_opens_nothing(grace: Evaluator) -> None:
    token = token_for(grace)
    with override_settings(SECRET_KEY="another secret of at least 32 characters"), pytest.raises(Http404):
        evaluator_for(token)


def test_a_new_nonce_revokes_the_old_link(grace: Evaluator) -> None:
    old = token_for(grace)
    Evaluator.objects.filter(pk=grace.pk).update(nonce=new_nonce())
    grace.refresh_from_db()
    with pytest.raises(Http404):
        evaluator_for(old)
    assert evaluator_for(token_for(grace)) == grace


@pytest.mark.parametrize("token", ["", ".", "x.y", "é.é", "a" * 500, "AAAAAAAAAAAA." + "0" * 32])
def test_anything_else_is_not_found(grace: Evaluator, token: str) -> None:
    with pytest.raises(Http404):
        evaluator_for(token)


def test_a_study_is_its_owners_and_a_superusers() -> None:
    ada, mallory = make_admin("ada"), make_admin("mallory")
    study = make_draft(owner=ada)
    assert list(studies_of(ada)) == [study]
    assert list(studies_of(mallory)) == []
    with pytest.raises(Http404):
        study_of(mallory, study.pk)
    mallory.is_superuser = True
    assert study_of(mallory, study.pk) == study


def test_no_evaluators_id_begins_as_a_formula_or_an_option() -> None:
    drawn = {new_public_id() for _ in range(3000)}
    assert len(drawn) == 3000
    assert all(len(each) == 12 and each[0] in string.ascii_letters + string.digits + "_" for each in drawn)
