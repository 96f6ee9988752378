"""An open study and an evaluator who has a link, or has consented."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from evenhand.studies.access import link_for
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.factories import make_ready_study

JSON = {"Accept": "application/json"}


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


class Visitor:
    """A browser's JSON side: one evaluator's link, walked with Django's test client."""

    def __init__(self, client: Client, evaluator: Evaluator) -> None:
        self.client, self.evaluator, self.path = client, evaluator, link_for(evaluator)

    def status(self) -> dict[str, Any]:
        """``GET`` as JSON."""
        return self.client.get(self.path, headers=JSON).json()

    def post(self, what: str, data: dict[str, Any]) -> Any:
        """``POST`` with JSON wanted."""
        return self.client.post(f"{self.path}{what}/", data, headers=JSON)


@pytest.fixture
def visitor(client: Client, rater: Evaluator) -> Visitor:
    """Grace, in front of her first trial."""
    return Visitor(client, rater)
