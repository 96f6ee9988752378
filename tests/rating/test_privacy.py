"""What the consent promises and says is stored, what a deletion empties, and places that simulations do not take."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone, translation

from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Booklet, Evaluator, Rating, Skip, Study, Trial
from evenhand.studies.procedure import DEFAULT_CONSENT
from evenhand.studies.rating import chain
from evenhand.studies.rating.enrolment import EnrolmentError, consent, enrol, is_full
from evenhand.studies.rating.promise import SECONDS_PER_TRIAL, pace_of, promise_for
from evenhand.studies.rating.statement import statement_of
from evenhand.studies.revision import revise
from tests.helpers.factories import make_ready_study
from tests.helpers.visitors import Visitor, answer

pytestmark = pytest.mark.django_db
PANEL = {"PROLIFIC_PID": "5f2d", "STUDY_ID": "st1", "SESSION_ID": "se1"}


def page_of(client: Client, person: Evaluator) -> str:
    return client.get(link_for(person)).content.decode()


def stored_for(person: Evaluator) -> str:
    return " ".join(statement_of(person, configuration_of(person.study)).stored)


# ------------------------------------------------------------------------------ what is said


def test_the_consent_says_what_is_stored_for_each_way_in(client: Client, study: Study) -> None:
    paid = enrol(study, external_ids=PANEL, external_key="5f2d")
    invited = enrol(study, note="Grace")
    anybody = enrol(study)
    assert "from Prolific (PROLIFIC_PID, STUDY_ID, SESSION_ID)" in stored_for(paid)
    assert "A note of who was given" in stored_for(invited)
    assert "Prolific" not in stored_for(invited) + stored_for(anybody)
    for person in (paid, invited, anybody):
        page = page_of(client, person)
        assert "the size of your window" in page
        assert "Nothing else is stored" in page
        assert "nothing that tells who you are" not in page
    assert "tells who you are" not in DEFAULT_CONSENT


def test_payment_is_said_where_the_study_says_it_and_nowhere_else(client: Client, study: Study) -> None:
    paid = enrol(study, external_ids=PANEL, external_key="5f2d")
    assert "Payment" not in page_of(client, paid)
    revise(study, payment="Three dollars, also if you stop early.")
    paid = Evaluator.objects.get(pk=paid.pk)
    assert "Three dollars, also if you stop early." in page_of(client, paid)
    assert "Three dollars" in client.get(f"{link_for(paid)}withdraw/").content.decode()


def test_the_hash_is_of_all_sentences_in_their_language(study: Study) -> None:
    paid, invited = enrol(study, external_ids=PANEL, external_key="5f2d"), enrol(study, note="Grace")
    texts = {statement_of(person, configuration_of(study)).sha256 for person in (paid, invited)}
    assert len(texts) == 2
    consent(invited, language="en")
    with translation.override("en"):
        assert invited.consent_text_sha256 == statement_of(invited, configuration_of(study)).sha256


def test_nobody_agrees_to_a_text_that_was_changed_meanwhile(client: Client, study: Study) -> None:
    person = enrol(study)
    read = re.findall(r'name="read" value="(\w+)"', page_of(client, person))[0]
    revise(study, consent="Another text.")
    response = client.post(f"{link_for(person)}consent/", {"agree": "1", "read": read})
    page = response.content.decode()
    assert response.status_code == 409
    assert "has changed since you opened" in page
    assert "Another text." in page
    person.refresh_from_db()
    assert person.consented_at is None
    read = re.findall(r'name="read" value="(\w+)"', page)[0]
    assert client.post(f"{link_for(person)}consent/", {"agree": "1", "read": read}).status_code == 302
    person.refresh_from_db()
    assert person.consented_at is not None


def test_the_personal_link_is_shown_to_whoever_has_no_panel(client: Client, study: Study) -> None:
    invited, paid = enrol(study), enrol(study, external_ids=PANEL, external_key="5f2d")
    assert f'value="http://testserver{link_for(invited)}"' in page_of(client, invited)
    assert "Copy my link" not in page_of(client, paid)


# ------------------------------------------------------------------------------ what is promised


def test_the_true_number_of_pairs_is_promised(client: Client) -> None:
    study = make_ready_study(quota=1, attention_checks=2, practice_trials=1, trials_per_evaluator=12)
    open_study(study)
    ada, bob = enrol(study), enrol(study)
    assert (promise_for(ada).pairs, promise_for(ada).at_most) == (14, False)
    assert "14 pairs of pictures" in page_of(client, ada)
    consent(ada)
    visitor = Visitor(client, ada)
    status = visitor.status()
    for _ in range(13):
        status = visitor.post("rate", answer(status["trial"])).json()["next"]
    Booklet.objects.update(claimed_at=timezone.now() - timedelta(days=2))
    Trial.objects.exclude(shown_at=None).update(shown_at=timezone.now() - timedelta(days=2))
    Rating.objects.update(rated_at=timezone.now() - timedelta(days=2))
    left = Trial.objects.filter(booklet__evaluator=ada, kind="main", ratings=None).count()
    promised = promise_for(bob)
    assert promised.at_most
    assert f"At most {promised.pairs} pair" in page_of(client, bob)
    consent(bob)
    dealt = bob.booklet.trials.exclude(kind="practice")
    assert dealt.filter(kind="main").count() == left
    assert dealt.count() == promised.pairs


def test_minutes_are_the_admins_or_measured_or_a_first_estimate(study: Study) -> None:
    person = enrol(study)
    assert promise_for(person).minutes == round(12 * SECONDS_PER_TRIAL / 60)
    revise(study, quota=40)
    study.refresh_from_db()
    for _ in range(9):  # 108 answers of people, ten seconds from one to the next, after a minute of reading
        rater = enrol(study)
        consent(rater)
        begun = timezone.now()
        Evaluator.objects.filter(pk=rater.pk).update(consented_at=begun)
        for i, trial in enumerate(Trial.objects.filter(booklet__evaluator=rater)):
            rating = Rating(trial=trial, evaluator=rater, version=study.current_version, choice=1, key=uuid.uuid4(),
                            slot=trial.slot, rated_at=begun + timedelta(seconds=60 + 10 * i))  # fmt: skip
            chain.link(rating, chain.end_and_skip(rater, rating.trial)[0]).save()
    pace = pace_of(study)
    assert pace.each == pytest.approx(10)
    assert pace.first == pytest.approx(60)
    assert promise_for(Evaluator.objects.get(pk=person.pk)).minutes == round((60 + 11 * 10) / 60)
    revise(study, minutes=25.0)
    assert promise_for(Evaluator.objects.get(pk=person.pk)).minutes == 25


def test_simulated_answers_measure_nobodys_pace(study: Study) -> None:
    Evaluator.objects.bulk_create(
        Evaluator(study=study, version=study.current_version, simulated=True, finished_at=timezone.now())
        for _ in range(9)
    )
    assert pace_of(study).each == SECONDS_PER_TRIAL


# ------------------------------------------------------------------------------ deletion


def test_a_deletion_empties_everything_that_may_name_somebody(client: Client) -> None:
    study = make_ready_study(reasons=("sharper",), ask_remark=True, contact="study@example.org")
    open_study(study)
    client.post(enrolment_link(study), PANEL)
    ada = Evaluator.objects.get()
    Evaluator.objects.update(note="met at the fair")
    visitor = Visitor(client, ada)
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    given = answer(status["trial"], reasons=["sharper"], remark="I am Ada")
    status = visitor.post("rate", given).json()["next"]
    visitor.post("skip", {"trial": status["trial"]["id"], "reason": "report", "note": "my cousin’s house"})
    client.post(enrolment_link(study), PANEL | {"SESSION_ID": "se2"})
    page = client.post(f"{visitor.path}withdraw/", {"delete": "1"}, follow=True).content.decode()
    assert "Your answers and everything that you wrote are deleted." in page
    assert "Delete my answers" not in page
    asked = client.get(f"{visitor.path}withdraw/").content.decode()
    assert "Your answers are deleted" in asked
    assert "<form" not in asked
    ada.refresh_from_db()
    rating, skip = Rating.objects.get(), Skip.objects.get()
    assert (rating.choice, rating.remark, rating.reasons, rating.viewport, rating.elapsed_ms) == (
        None,
        "",
        [],
        {},
        None,
    )
    assert (skip.note, ada.note, ada.external_key, ada.external_ids, ada.later_ids) == ("", "", None, {}, [])
    assert ada.external_hmac
    assert list(chain.faults(study)) == []
    study.refresh_from_db()
    events = str(list(study.events.values_list("detail", flat=True)))
    assert "5f2d" not in events
    assert "met at the fair" not in events


def test_leaving_offers_the_deletion_later(client: Client, rater: Evaluator) -> None:
    path = link_for(rater)
    client.post(f"{path}withdraw/", {"delete": "0"})
    assert "Delete my answers" in page_of(client, rater)
    client.post(f"{path}withdraw/", {"delete": "1"})
    rater.refresh_from_db()
    deleted_at = rater.deleted_at
    assert deleted_at is not None
    client.post(f"{path}withdraw/", {"delete": "1"})
    rater.refresh_from_db()
    assert rater.deleted_at == deleted_at
    assert rater.study.events.filter(action="withdrawal").count() == 2


# ------------------------------------------------------------------------------ simulations


def test_simulated_people_take_no_real_place() -> None:
    study = make_ready_study(quota=3)
    open_study(study)
    robots, people = [enrol(study, simulated=True) for _ in range(4)], [enrol(study) for _ in range(4)]
    for robot in robots[:3]:
        consent(robot)
    with pytest.raises(EnrolmentError):
        consent(robots[3])  # of simulated people, too, there are as many as the quota
    assert not is_full(study)
    for person in people[:3]:
        consent(person)
    assert is_full(study)
    with pytest.raises(EnrolmentError):
        consent(people[3])
    slots = [set(Trial.objects.filter(booklet__evaluator__in=group).values_list("slot", flat=True))
             for group in (robots, people)]  # fmt: skip
    assert slots[0] & slots[1] == set()
    pairs = [list(Trial.objects.filter(booklet__evaluator=person).order_by("position").values_list("pair", flat=True))
             for person in (robots[0], people[0])]  # fmt: skip
    assert pairs[0] == pairs[1]  # the same plan


def test_what_a_simulation_leaves_behind_is_for_simulations(client: Client) -> None:
    study = make_ready_study(quota=1)
    open_study(study)
    robot, person, other = enrol(study, simulated=True), enrol(study), enrol(study, simulated=True)
    consent(robot)
    consent(person)
    Evaluator.objects.filter(pk=robot.pk).update(withdrawn_at=timezone.now())
    with pytest.raises(EnrolmentError):
        consent(enrol(study))
    assert consent(other).simulated
    assert other.booklet.trials.count() == 12
