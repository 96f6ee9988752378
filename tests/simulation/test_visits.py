"""Simulated evaluators walk the whole way over HTTP, and leave it where people do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest
from pytest_django.live_server_helper import LiveServer

from evenhand.analysis.simulate import SimulatedEvaluator
from evenhand.studies.lifecycle import open_study, pause_study
from evenhand.studies.models import Booklet, Evaluator, Rating, Study, Trial
from evenhand.studies.procedure import ComprehensionQuestion
from evenhand.studies.rating import chain
from evenhand.studies.simulation.deciders import Population, Preference, enrol_simulated
from evenhand.studies.simulation.visits import SimulationError, Visit, visit_all
from tests.helpers.factories import make_ready_study

pytestmark = pytest.mark.django_db(transaction=True)

STRONG = Preference((3.0, -3.0))
SURE = SimulatedEvaluator(sensitivity=1.0, noise=0.0, lapse_rate=0.0)
QUESTIONS = (ComprehensionQuestion("What do you compare?", ("Sounds", "Pictures"), 1),)


def opened(**changes: Any) -> Study:
    study = make_ready_study(**{"trials_per_evaluator": 6} | changes)
    open_study(study)
    return study


def send(live_server: LiveServer, study: Study, count: int, population: Population, **more: Any) -> list[Visit]:
    people = enrol_simulated(study, count)
    return visit_all(live_server.url, population.visitors(people, seed=3), **more)


def test_they_meet_everything_that_a_study_may_hold(live_server: LiveServer) -> None:
    study = opened(
        introduction=True, practice_trials=2, comprehension=QUESTIONS, attention_checks=2, repeats=2, break_every=4,
        minimum_age=18,
    )  # fmt: skip
    visits = send(live_server, study, 2, Population(STRONG, SURE))
    assert [(visit.outcome, visit.ratings) for visit in visits] == [("finished", 2 + 6 + 2 + 2)] * 2
    people = Evaluator.objects.filter(study=study)
    assert all(person.simulated and person.age_confirmed and person.finished_at for person in people)
    kinds = Counter(Rating.objects.values_list("trial__kind", flat=True))
    assert kinds == {"main": 12, "practice": 4, "attention": 4, "repeat": 4}
    assert list(chain.faults(study)) == []


def test_the_chosen_preference_goes_to_the_candidate_and_checks_to_the_right_picture(live_server: LiveServer) -> None:
    study = opened(attention_checks=2, repeats=2)
    send(live_server, study, 2, Population(STRONG, SURE), fetch=False)
    for rating in Rating.objects.select_related("trial__pair__comparison"):
        if rating.trial.kind == Trial.Kind.ATTENTION:
            assert rating.choice == 2 * (rating.trial.expected_choice or 0)
        else:
            assert rating.trial.pair is not None
            assert rating.preference == (2, -2)[rating.trial.pair.comparison.position]


def test_a_side_bias_is_towards_the_right_and_checks_resist_it(live_server: LiveServer) -> None:
    biased = SimulatedEvaluator(sensitivity=1.0, noise=0.0, side_bias=9.0, lapse_rate=0.0)
    study = opened(attention_checks=2)
    send(live_server, study, 1, Population(Preference((0.0, 0.0)), biased), fetch=False)
    assert set(Rating.objects.filter(trial__kind="main").values_list("choice", flat=True)) == {2}
    assert set(Rating.objects.filter(trial__kind="attention").values_list("choice", flat=True)) == {2, -2}


def test_lapses_are_made_in_checks_too(live_server: LiveServer) -> None:
    absent = SimulatedEvaluator(sensitivity=1.0, lapse_rate=1.0)
    study = opened(attention_checks=6)
    send(live_server, study, 2, Population(STRONG, absent), fetch=False)
    checks = Rating.objects.filter(trial__kind="attention").values_list("choice", "trial__expected_choice")
    assert len(checks) == 12
    assert 0 < sum((choice or 0) * (expected or 0) > 0 for choice, expected in checks) < 12


def test_who_drops_out_leaves_a_booklet_behind(live_server: LiveServer) -> None:
    study = opened(practice_trials=2)
    visits = send(live_server, study, 4, Population(STRONG, SURE, drop_out=1.0), fetch=False)
    assert {visit.outcome for visit in visits} == {"left"}
    assert all(2 <= visit.ratings < 8 for visit in visits)
    assert not Evaluator.objects.exclude(finished_at=None).exists()
    assert Booklet.objects.exclude(evaluator=None).count() == 4
    assert Rating.objects.filter(trial__kind="main").count() < 24


def test_a_full_and_a_paused_study_are_outcomes_and_no_errors(live_server: LiveServer) -> None:
    study = opened(quota=1)
    outcomes = [visit.outcome for visit in send(live_server, study, 3, Population(STRONG, SURE), threads=1)]
    assert outcomes == ["finished", "full", "full"]
    pause_study(study)
    assert [visit.outcome for visit in send(live_server, study, 1, Population(STRONG, SURE))] == ["paused"]


def test_an_unknown_link_is_an_error(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened()
    people = enrol_simulated(study, 1)
    visitors = Population(STRONG, SURE).visitors(people, seed=3)
    Evaluator.objects.update(nonce="revoked")
    with pytest.raises(SimulationError, match="GET answered 404"):
        visit_all(live_server.url, visitors)


def test_a_lost_answer_is_sent_again_and_counts_once(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second acknowledgement is lost on its way; the answer itself had arrived."""
    study, sent = opened(), Counter[str]()
    request = httpx.Client.request

    def losing(client: httpx.Client, method: str, url: str, **more: Any) -> httpx.Response:
        response = request(client, method, url, **more)
        sent["all"] += 1
        if sent["all"] % 2:
            raise httpx.ReadError("the connection broke")
        return response

    monkeypatch.setattr(httpx.Client, "request", losing)
    [visit] = send(live_server, study, 1, Population(STRONG, SURE), fetch=False)
    assert (visit.outcome, visit.ratings) == ("finished", 6)
    assert Rating.objects.count() == 6
