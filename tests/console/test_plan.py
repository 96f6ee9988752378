"""The plan's page: saved again it changes nothing, and of two admins' changes none is lost without a word."""

from __future__ import annotations

import json
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evenhand.generation.guidance import ClassifierFree, SegmentationFree, methods
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.generation.methods.smoothed_energy import SmoothedEnergy
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import StaleDraftError, change_draft, configuration_of, draft_sha256
from evenhand.studies.models import Study
from evenhand.studies.procedure import ComprehensionQuestion
from evenhand.studies.revision import revise
from tests.helpers.factories import make_admin, make_draft, make_prompt_set, make_ready_study
from tests.helpers.html_forms import values_of

pytestmark = pytest.mark.django_db

OPENING = ClassifierFree(2.0, "blurry")
UNEQUAL = (
    SegmentationFree(5.0, 0.5, 2, opening=OPENING),
    SegmentationFree(10.0, 1.25, None, opening=OPENING, heads="per_head"),
    SegmentationFree(10.0, 1.25, 3, opening=ClassifierFree(7.5), tokens="prompt"),
)


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def plan_of(study: Study) -> str:
    return reverse("console:change_plan", args=[study.pk])


def shown(console: Client, study: Study) -> dict[str, str]:
    return values_of(console.get(plan_of(study)).content.decode())


def stored(study: Study) -> StudyConfiguration:
    return configuration_of(Study.objects.get(pk=study.pk))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"height": 96, "width": 64, "curve_sizes": (7, 30), "curve_draws": 2},
        {"baseline": OPENING, "candidates": UNEQUAL},
        {"candidates": (ClassifierFree(12.5), SegmentationFree(0.1 + 0.2), ClassifierFree(3.0, "a cat"))},
        {"candidates": (ClassifierFree(12.5),)},
        {"candidates": tuple(kind() for kind in methods().values() if kind is not ClassifierFree)},
        {"baseline": SegmentationFree(1.0, 2.0), "candidates": (ClassifierFree(7.5), SegmentationFree(5.0))},
        {"percentiles": (100 / 3, 12.3456789, 90), "per_stratum": 2},
        {"consent": "First line.\nSecond line.\n\n  Indented.  ", "debriefing": "\nIt was about shapes.\n"},
        {
            "introduction": True,
            "allow_correction": False,
            "comprehension": (ComprehensionQuestion("May you skip?", ("Yes", "No"), 0),),
            "panel_parameters": ("worker", "assignment"),
            "practice_trials": 1,
        },
    ],
)
def test_saving_a_plan_again_changes_nothing(console: Client, ada: User, changes: dict[str, Any]) -> None:
    study = make_draft(owner=ada, **changes)
    before, values = stored(study), shown(console, study)
    assert console.post(plan_of(study), values).status_code == 302
    assert stored(study) == before
    assert stored(study).sha256 == before.sha256
    assert console.post(plan_of(study), values | {"quota": "9"}).status_code == 302
    assert stored(study) == replace(before, quota=9)


def test_a_value_that_stands_for_all_candidates_changes_them_all_and_nothing_else(console: Client, ada: User) -> None:
    study = make_draft(owner=ada, baseline=OPENING, candidates=UNEQUAL)
    page = console.get(plan_of(study)).content.decode()
    assert "Now a = 5: 0.5, a = 10: 1.25." in page
    console.post(plan_of(study), values_of(page) | {"sfg_strength": "4"})
    assert stored(study).candidates == tuple(replace(guidance, strength=4.0) for guidance in UNEQUAL)


@pytest.mark.parametrize(
    ("scales", "bases"),
    [
        ("10, 5, 10", [(10.0, 1), (5.0, 0), (10.0, 2)]),
        ("6, 10, 10", [(6.0, 0), (10.0, 1), (10.0, 2)]),  # the one whose scale was changed
        ("10", [(10.0, 1)]),
    ],
)
def test_scales_keep_what_their_candidates_have(
    console: Client, ada: User, scales: str, bases: list[tuple[float, int]]
) -> None:
    study = make_draft(owner=ada, baseline=OPENING, candidates=UNEQUAL)
    console.post(plan_of(study), shown(console, study) | {"scales": scales})
    assert stored(study).candidates == tuple(replace(UNEQUAL[base], scale=scale) for scale, base in bases)


def test_candidates_open_with_the_baseline_that_is_given(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    console.post(plan_of(study), shown(console, study) | {"strength": "3", "scales": "5, 10, 20"})
    configuration = stored(study)
    assert configuration.baseline == ClassifierFree(3.0)
    assert [guidance.to_dict()["opening"] for guidance in configuration.candidates] == [
        ClassifierFree(3.0).to_dict()
    ] * 3


def test_the_later_of_two_admins_is_refused_with_both_values(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    first, second = shown(console, study), shown(console, study)
    console.post(plan_of(study), first | {"quota": "9"})
    response = console.post(plan_of(study), second | {"repeats": "2"})
    assert response.status_code == 409
    assert (stored(study).quota, stored(study).repeats) == (9, 0)
    conflicts = {conflict.label: (conflict.yours, conflict.stored) for conflict in response.context["conflicts"]}
    assert conflicts == {"Evaluators wanted": ("4", 9), "Repeated pairs per evaluator": ("2", 0)}
    page = response.content.decode()
    assert "was changed by somebody else" in page
    again = values_of(page)
    assert (again["quota"], again["repeats"]) == ("4", "2")
    assert console.post(plan_of(study), again | {"quota": "9"}).status_code == 302  # now on purpose
    assert (stored(study).quota, stored(study).repeats) == (9, 2)


def test_a_double_click_on_save_is_one_change(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    values = shown(console, study) | {"quota": "9"}
    responses = [console.post(plan_of(study), values) for _ in range(2)]
    assert [response.status_code for response in responses] == [302, 302]
    assert stored(study).quota == 9


def test_a_double_click_on_a_revision_is_one_version(console: Client, ada: User) -> None:
    study = make_ready_study(owner=ada)
    address = reverse("console:revision", args=[study.pk])
    values = values_of(console.get(address).content.decode()) | {"quota": "9"}
    responses = [console.post(address, values) for _ in range(2)]
    assert [response.status_code for response in responses] == [302, 302]
    assert study.versions.count() == 2


def test_a_conflict_names_the_prompt_sets(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    old, new = study.prompt_set, make_prompt_set(name="Another set")
    values = shown(console, study)
    console.post(plan_of(study), values | {"prompt_set": str(new.pk)})
    response = console.post(plan_of(study), values | {"quota": "9"})
    assert [(c.yours, c.stored) for c in response.context["conflicts"] if c.label == "Prompt set"] == [
        (str(old), str(new))
    ]


def test_a_renamed_draft_is_another_draft(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    values = shown(console, study)
    console.post(plan_of(study), values | {"name": "Renamed"})
    assert console.post(plan_of(study), values | {"quota": "9"}).status_code == 409
    assert Study.objects.get(pk=study.pk).name == "Renamed"


def test_a_change_from_a_stale_draft_changes_nothing(ada: User) -> None:
    study = make_draft(owner=ada)
    seen, configuration = draft_sha256(study), stored(study)
    change_draft(study=study, actor=ada, configuration=replace(configuration, quota=9))
    with pytest.raises(StaleDraftError, match="changed by somebody else"):
        change_draft(study=study, actor=ada, configuration=configuration, name="Mine", read_as=seen)
    study.refresh_from_db()
    assert (study.name, stored(study).quota) == ("Shapes", 9)


def test_a_revision_from_an_older_page_is_refused_with_both_values(console: Client, ada: User) -> None:
    study = make_ready_study(owner=ada)
    address = reverse("console:revision", args=[study.pk])
    values = values_of(console.get(address).content.decode())
    revise(Study.objects.get(pk=study.pk), quota=9, actor=ada)
    response = console.post(address, values | {"contact": "ethics@example.org"})
    assert response.status_code == 409
    assert {conflict.label: conflict.stored for conflict in response.context["conflicts"]} == {
        "Evaluators wanted": 9, "Contact": "",
    }  # fmt: skip
    assert stored(study).contact == ""
    again = values_of(response.content.decode()) | {"quota": "9"}
    assert console.post(address, again).status_code == 302
    assert (stored(study).quota, stored(study).contact) == (9, "ethics@example.org")


def test_candidates_of_any_method_are_given_as_json(console: Client, ada: User) -> None:
    study = make_draft(owner=ada, baseline=OPENING, candidates=UNEQUAL)
    own = SmoothedEnergy(blur=None, opening=ClassifierFree(1.0))
    lines = ['{"method": "perturbed_attention", "strength": 4}', json.dumps(own.to_dict()), ""]
    assert (
        console.post(plan_of(study), shown(console, study) | {"other_candidates": "\r\n".join(lines)}).status_code
        == 302
    )
    assert stored(study).candidates == (*UNEQUAL, PerturbedAttention(4.0, opening=OPENING), own)
    kept = shown(console, study)
    assert [json.loads(line)["method"] for line in kept["other_candidates"].splitlines()] == [
        "perturbed_attention",
        "smoothed_energy",
    ]
    only = kept["other_candidates"].splitlines()[1]
    assert console.post(plan_of(study), kept | {"scales": "", "other_candidates": only}).status_code == 302
    assert stored(study).candidates == (own,)


def test_other_candidates_keep_their_places(console: Client, ada: User) -> None:
    weak, strong = ClassifierFree(3.0), ClassifierFree(12.5)
    study = make_draft(owner=ada, baseline=OPENING, candidates=(weak, UNEQUAL[0], strong))
    changed = '{"method": "classifier_free", "strength": 4, "rescale": 0.7}\n' + json.dumps(strong.to_dict())
    console.post(plan_of(study), shown(console, study) | {"other_candidates": changed})
    assert stored(study).candidates == (ClassifierFree(4.0, rescale=0.7), UNEQUAL[0], strong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("perturbed_attention", "line 1 is no JSON"),
        ("\n" + '{"opening":' * 3000 + "1" + "}" * 3000, "line 2 holds objects or lists in too many others"),
        ("1" * 5000, "line 1 is no JSON"),
        ('{"method": "classifier_free", "negative_prompt": "\\ud800"}', "negative_prompt must be Unicode text"),
        ('\n{"method": "perturbed"}', "line 2: method must be one of classifier_free"),
        ('{"method": "perturbed_attention", "strength": "much"}', "line 1: strength must be a finite number"),
        ('["perturbed_attention"]', "line 1: a guidance must be an object"),
        (
            '{"method": "segmentation_free", "scale": 3}',
            "segmentation-free candidates have fields of their own",
        ),
        ('{"method": "perturbed_attention", "switch_after": 99}', "switch_after must lie in 0…"),
        (
            '{"method": "other_checkpoint", "checkpoint": "owner/name", "scheduler": "ddim", "steps": 501, '
            '"guidance": {"method": "classifier_free"}}',
            "steps must be at most 500 with ddim",
        ),
    ],
)
def test_other_candidates_that_cannot_be_read_are_named(console: Client, ada: User, text: str, message: str) -> None:
    study = make_draft(owner=ada)
    before = stored(study)
    answer = console.post(plan_of(study), shown(console, study) | {"other_candidates": text})
    assert answer.status_code == 200
    assert message in unescape(answer.content.decode())
    assert stored(study) == before


def test_a_plan_without_any_candidate_is_refused(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    answer = console.post(plan_of(study), shown(console, study) | {"scales": ""})
    assert "give at least one candidate" in answer.content.decode()


def test_measuring_is_set_kept_and_left_empty(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    assert stored(study).measure_strength == 0
    console.post(plan_of(study), {**shown(console, study), "measure_strength": "5"})
    assert stored(study).measure_strength == 5
    assert shown(console, study)["measure_strength"] == "5"
    console.post(plan_of(study), {**shown(console, study), "measure_strength": ""})
    assert stored(study).measure_strength == 0
