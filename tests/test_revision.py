"""Changes after the preparation: a new version at once, everything else frozen, every rating under its own."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.configuration import ConfigurationError
from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import Booklet, Rating, Study, StudyVersion
from evenhand.studies.rating.enrolment import EnrolmentError, consent, enrol
from evenhand.studies.revision import RevisionError, revise
from tests.helpers.factories import make_admin, make_draft, make_ready_study
from tests.helpers.html_forms import values_of
from tests.helpers.visitors import Visitor, answer

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"), quota=1)
    open_study(study)
    return study


def test_a_larger_quota_lets_more_people_in_and_ratings_name_their_version(client: Client, study: Study) -> None:
    first, second = Visitor(client, enrol(study)), enrol(study)
    status = first.post("consent", {"agree": "1"}).json()["next"]
    status = first.post("rate", answer(status["trial"])).json()["next"]
    with pytest.raises(EnrolmentError, match="all the participants"):
        consent(second)
    version = revise(study, quota=2)
    second.study.refresh_from_db()
    consent(second)
    first.post("rate", answer(status["trial"]))
    assert version.number == 2
    assert list(Rating.objects.order_by("sequence").values_list("version__number", flat=True)) == [1, 2]
    assert Booklet.objects.filter(evaluator__isnull=False).count() == 2
    assert study.events.filter(action="revised").get().detail["changed"] == ["quota"]


def test_what_decides_the_pictures_is_frozen(study: Study) -> None:
    with pytest.raises(RevisionError, match="seed, trials_per_evaluator: frozen"):
        revise(study, quota=3, trials_per_evaluator=5, seed=1)
    with pytest.raises(ConfigurationError, match="quota: 0 is not between"):
        revise(study, quota=0)
    assert StudyVersion.objects.filter(study=study).count() == 1


def test_the_log_names_what_was_changed_and_nothing_else(client: Client, study: Study) -> None:
    client.force_login(study.owner)
    address = reverse("console:revision", args=[study.pk])
    values = values_of(client.get(address).content.decode())
    client.post(address, values | {"quota": str(configuration_of(study).quota + 5)})
    assert study.events.get(action="revised").detail["changed"] == ["quota"]


def test_nothing_new_makes_no_version(study: Study) -> None:
    assert revise(study, quota=1).number == 1


def test_drafts_and_closed_studies_are_not_revised(study: Study) -> None:
    with pytest.raises(RevisionError, match="is draft"):
        revise(make_draft(name="Corgis"), quota=3)
    close_study(study)
    with pytest.raises(RevisionError, match="is closed"):
        revise(study, quota=3)


def test_the_second_of_two_revisions_at_once_is_refused(study: Study) -> None:
    other = Study.objects.get(pk=study.pk)
    revise(other, quota=5)
    with pytest.raises(RevisionError, match="revised by somebody else"):
        revise(study, quota=7)
    study.refresh_from_db()
    assert study.current_version is not None
    assert '"quota":5' in study.current_version.configuration


def test_the_page_shows_the_errors_at_their_fields(client: Client, study: Study) -> None:
    client.force_login(study.owner)
    path = f"/console/studies/{study.pk}/revision/"
    values = {"read_as": 1, "quota": 0, "lease_minutes": 60, "consent": "New text.", "completion_url": "nowhere"}
    page = client.post(path, values).content.decode()
    assert "0 is not between" in page
    assert "is not a web address" in page
    assert client.post(path, values | {"quota": 4, "completion_url": ""}).status_code == 302
    study.refresh_from_db()
    assert study.versions.count() == 2
    client.force_login(make_admin("mallory"))
    assert client.get(path).status_code == 404
