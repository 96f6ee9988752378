"""``manage.py simulate_evaluators``: what it prints, and what it refuses before anybody is enrolled."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.demonstration.processes import free_port
from evenhand.studies.lifecycle import open_study, pause_study
from evenhand.studies.models import Evaluator, Rating, Study
from tests.helpers.factories import make_ready_study

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def study() -> Study:
    study = make_ready_study(trials_per_evaluator=4)
    open_study(study)
    return study


def simulate(study: Study, live_server: LiveServer, **options: Any) -> str:
    output = io.StringIO()
    call_command("simulate_evaluators", study.name, stdout=output, verbosity=0, url=live_server.url, **options)
    return output.getvalue()


def test_it_says_how_many_came_and_that_they_are_simulated(study: Study, live_server: LiveServer) -> None:
    told = simulate(study, live_server, evaluators=4, preference=[9.0, -9.0], noise=0.0, lapse_rate=0.0)
    assert told.startswith("4 SIMULATED evaluators (4 finished) gave 16 ratings in ")
    assert Evaluator.objects.filter(simulated=True).count() == 4
    preferences = {(r.trial.pair.comparison.position, r.preference) for r in Rating.objects.all() if r.trial.pair}
    assert preferences == {(0, 2), (1, -2)}


def test_a_second_run_adds_others_with_other_answers(study: Study, live_server: LiveServer) -> None:
    for _ in range(2):
        simulate(study, live_server, evaluators=1, lapse_rate=1.0, no_pictures=True)
    one, two = ([r.choice for r in person.ratings.order_by("sequence")] for person in Evaluator.objects.order_by("pk"))
    assert one != two


def test_a_full_study_is_told(study: Study, live_server: LiveServer) -> None:
    told = simulate(study, live_server, evaluators=5, no_pictures=True)
    assert told.startswith("5 SIMULATED evaluators (4 finished, 1 full) gave 16 ratings")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lapse_rate": 1.5}, "--lapse-rate is a share, 0 to 1, not 1.5"),
        ({"drop_out_rate": -0.1}, "--drop-out-rate is a share, 0 to 1, not -0.1"),
        ({"drop_out_rate": float("nan")}, "--drop-out-rate is a share, 0 to 1, not nan"),
        ({"noise": -1.0}, "noise -1.0 must not be negative"),
        ({"side_bias": float("inf")}, "side_bias must be finite"),
        ({"preference": [float("nan")]}, "strengths must be finite"),
        ({"preference": [1.0, 2.0, 3.0]}, "one strength or 2, one a comparison, not 3"),
        ({"evaluators": 0}, "--evaluators must be at least 1, not 0"),
        ({"threads": 0}, "--threads must be at least 1, not 0"),
        ({"seed": -1}, "--seed must not be negative"),
        ({"judge": "pictures", "no_pictures": True}, "leave --no-pictures out"),
    ],
)
@pytest.mark.django_db
def test_bad_values_are_named_and_nobody_is_enrolled(study: Study, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=re.escape(message)):
        call_command("simulate_evaluators", study.name, **options)
    assert not Evaluator.objects.exists()


@pytest.mark.django_db
def test_a_study_that_does_not_collect_is_named(study: Study) -> None:
    pause_study(study)
    with pytest.raises(CommandError, match="is paused; evaluators rate while a study is collecting"):
        call_command("simulate_evaluators", study.name)
    assert not Evaluator.objects.exists()


def test_a_server_that_is_not_there_or_another_one_is_named(study: Study, live_server: LiveServer) -> None:
    with pytest.raises(CommandError, match="does not answer"):
        call_command("simulate_evaluators", study.name, url=f"http://127.0.0.1:{free_port(0)}")
    with pytest.raises(CommandError, match=r"answers 404 .* does it run Evenhand with this database and secret key"):
        call_command("simulate_evaluators", study.name, url=f"{live_server.url}/elsewhere")
    assert not Evaluator.objects.exists()
