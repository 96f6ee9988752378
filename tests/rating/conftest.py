"""An open study and an evaluator who has a link, or has consented."""

from __future__ import annotations

import pytest
from django.test import Client

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.factories import make_ready_study
from tests.helpers.visitors import Visitor


@pytest.fixture
def study(db: None) -> Study:
    """A study that collects: 24 pairs, two comparisons, twelve trials a person."""
    study = make_ready_study()
    open_study(study)
    return study


@pytest.fixture
def grace(study: Study) -> Evaluator:
    """Invited; has not opened the link."""
    return enrol(study, note="Grace")


@pytest.fixture
def rater(grace: Evaluator) -> Evaluator:
    """Has consented and holds a booklet."""
    consent(grace)
    grace.refresh_from_db()
    return grace


@pytest.fixture
def visitor(client: Client, rater: Evaluator) -> Visitor:
    """Grace, in front of her first trial."""
    return Visitor(client, rater)
