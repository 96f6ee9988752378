"""The plan's choice of comparisons: against the baseline, all pairs, single pairs; presets of a new plan."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.studies.comparisons import all_pairs, followed
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.presets import PRESETS
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Study
from tests.helpers.factories import make_admin, make_draft, make_prompt_set
from tests.helpers.html_forms import values_of

pytestmark = pytest.mark.django_db

OPENING = ClassifierFree(2.0)
FOUR: dict[str, Any] = {
    "baseline": OPENING,
    "candidates": tuple(SegmentationFree(a, opening=OPENING) for a in (2.0, 5.0, 10.0)),
}


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


def plan_of(study: Study) -> str:
    return reverse("console:change_plan", args=[study.pk])


def shown(console: Client, study: Study) -> dict[str, str]:
    return values_of(console.get(plan_of(study)).content.decode())


def stored(study: Study) -> StudyConfiguration:
    return configuration_of(Study.objects.get(pk=study.pk))


@pytest.mark.parametrize("comparisons", [(), all_pairs(4), ((0, 1), (3, 2), (2, 0)), tuple(reversed(all_pairs(4)))])
def test_saving_a_plan_again_keeps_its_comparisons(
    console: Client, ada: User, comparisons: tuple[tuple[int, int], ...]
) -> None:
    study = make_draft(owner=ada, comparisons=comparisons, **FOUR)
    before = stored(study)
    assert console.post(plan_of(study), shown(console, study)).status_code == 302
    assert stored(study) == before


def test_all_pairs_follow_the_arms_and_ticked_pairs_stay_with_theirs(console: Client, ada: User) -> None:
    study = make_draft(owner=ada, **FOUR)
    page = console.get(plan_of(study)).content.decode()
    assert "its 4 arms make 3 comparisons with the baseline, 1.3 ratings a pair, or 6 in all pairs, 0.67" in page
    console.post(plan_of(study), values_of(page) | {"compare": "all_pairs"})
    assert stored(study).compared == all_pairs(4)
    console.post(plan_of(study), shown(console, study) | {"scales": "2, 5"})
    assert stored(study).compared == all_pairs(3)
    values = shown(console, study) | {"compare": "chosen"}
    del values["pair_0_2"]
    console.post(plan_of(study), values)
    assert stored(study).compared == ((0, 1), (1, 2))
    console.post(plan_of(study), shown(console, study) | {"scales": "5, 2, 20"})
    assert stored(study).compared == ((0, 2), (2, 1), (0, 3))  # the same pairs; the new arm with the baseline


def test_pairs_that_leave_an_arm_out_are_refused_in_words(console: Client, ada: User) -> None:
    study = make_draft(owner=ada, **FOUR)
    values = {name: value for name, value in shown(console, study).items() if not name.startswith("pair_")}
    response = console.post(plan_of(study), values | {"compare": "chosen", "pair_1_2": "on", "pair_2_3": "on"})
    assert response.status_code == 200
    assert "arm 0 is in no comparison" in response.content.decode()
    assert stored(study).comparisons == ()


def test_comparisons_follow_arms_that_move_change_and_go() -> None:
    assert followed([(0, 1), (1, 2)], "abc", "acb") == ((0, 2), (2, 1))
    assert followed([(0, 1), (1, 2)], "abc", "axc") == ((0, 1), (1, 2))
    assert followed([(0, 1), (1, 2)], "abc", "ac") == ((0, 1),)
    assert followed([(0, 1)], "ab", "abc") == ((0, 1), (0, 2))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_a_new_plan_that_can_be_saved(console: Client, name: str) -> None:
    prompts = make_prompt_set(60)
    address = f"{reverse('console:new_study')}?preset={name}"
    page = console.get(address).content.decode()
    assert 'aria-current="true"' in page
    assert console.post(address, values_of(page) | {"name": "Mine", "prompt_set": str(prompts.pk)}).status_code == 302
    made = configuration_of(Study.objects.get(name="Mine"))
    assert made.encoder == PRESETS[name].values.get("encoder", "demo")
    assert len(made.candidates) == {"paper": 2, "matched": 2, "sweep": 4}[name]
    assert made.compared == (all_pairs(3) if name == "matched" else tuple((0, i) for i in range(1, len(made.arms))))
    if name == "matched":
        method, matched = (arm.to_dict() for arm in made.candidates)
        settings = ("method", "scale", "strength")
        assert [matched["guidance"][name] for name in settings] == [method[name] for name in settings]
        assert (matched["opening"], matched["switch_after"]) == (method["opening"], method["switch_after"])
