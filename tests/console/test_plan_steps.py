"""The plan step by step: each step changes its own fields alone, refuses what cannot be, and says what does not fit."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.studies.comparisons import all_pairs
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.forms import StudyForm
from evenhand.studies.console.plan_review import cost_of
from evenhand.studies.console.plan_steps import STEPS, StepForm, step_of
from evenhand.studies.criteria import MOST_CRITERIA, PRESETS
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import RecipeCheck, Study
from evenhand.studies.models.work import WorkerSign
from evenhand.studies.panels import EndReturn
from evenhand.studies.procedure import ComprehensionQuestion
from tests.helpers.factories import make_admin, make_draft, make_prompt_set, make_ready_study
from tests.helpers.html_forms import values_of

pytestmark = pytest.mark.django_db

OPENING = ClassifierFree(2.0, "blurry")
UNUSUAL: dict[str, Any] = {
    "height": 96,
    "width": 64,
    "dtype": "bfloat16",
    "seed": 7,
    "draw": "representative",
    "deduplicate": "near",
    "near_duplicate_cosine": 0.8,
    "encoder_pretrained": "weights",
    "curve_sizes": (7, 30),
    "percentiles": (100 / 3, 12.3456789, 90),
    "baseline": OPENING,
    "candidates": (
        SegmentationFree(5.0, 0.5, 2, opening=OPENING),
        SegmentationFree(10.0, 1.25, None, opening=OPENING, heads="per_head"),
        ClassifierFree(12.5),
    ),
    "comparisons": ((0, 1), (1, 2), (2, 3)),
    "measure_strength": 2,
    "primary_comparison": 2,
    "primary_criterion": "match",
    "equivalence_margin": 4.5,
    "exclusion_rules": "Who is too fast.\nWho is asleep.",
    "stopping_rule": "At noon.",
    "criteria": tuple(PRESETS.values())[:MOST_CRITERIA],
    "both_bad_option": "Both are bad",
    "reasons": ("Colour", "Shape"),
    "reasons_share": 0.25,
    "allow_correction": False,
    "zoom": False,
    "flip": True,
    "skips_are_paid": False,
    "introduction": True,
    "practice_trials": 1,
    "comprehension": (ComprehensionQuestion("May you skip?", ("Yes", "No"), 0),),
    "consent": "First line.\n\n  Indented.  ",
    "minutes": 12.5,
    "panel_parameters": ("worker", "assignment"),
    "completion_code": "DONE",
    "end_returns": (EndReturn("full", "FULL", ""),),
}


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def address(study: Study, step: str) -> str:
    return reverse("console:plan_step", args=[study.pk, step])


def shown(console: Client, study: Study, step: str) -> dict[str, str]:
    return values_of(console.get(address(study, step)).content.decode())


def stored(study: Study) -> StudyConfiguration:
    return configuration_of(Study.objects.get(pk=study.pk))


def test_every_field_of_the_plan_has_one_step(ada: User) -> None:
    names = [name for step in STEPS.values() for name in step.fields]
    assert sorted(names) == sorted({*StudyForm.base_fields, "height", "width"} - {"read_as"})


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("changes", [{}, UNUSUAL], ids=["usual", "unusual"])
def test_a_step_saved_again_changes_nothing(console: Client, ada: User, step: str, changes: dict[str, Any]) -> None:
    study = make_draft(owner=ada, **changes)
    before, values = stored(study), shown(console, study, step)
    assert console.post(address(study, step), values).status_code == 302
    assert stored(study) == before
    assert stored(study).sha256 == before.sha256


CHANGES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "prompts": ({"name": "Renamed"}, {}),
    "sampling": ({"seed": "9"}, {"seed": 9}),
    "recipe": ({"height": "128"}, {"height": 128}),
    "arms": ({"measure_strength": "3"}, {"measure_strength": 3}),
    "comparisons": ({"compare": "all_pairs"}, {"comparisons": all_pairs(4), "primary_comparison": 4}),  # as before
    "questions": ({"both_bad_option": "Neither"}, {"both_bad_option": "Neither"}),
    "people": ({"quota": "9"}, {"quota": 9}),
    "checks": ({"practice_trials": "2"}, {"practice_trials": 2}),
    "consent": ({"contact": "x@example.org"}, {"contact": "x@example.org"}),
    "ends": ({"completion_code": "OTHER"}, {"completion_code": "OTHER"}),
    "analysis": ({"stopping_rule": "At night."}, {"stopping_rule": "At night."}),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_changes_what_it_shows_and_nothing_else(console: Client, ada: User, step: str) -> None:
    study = make_draft(owner=ada, **UNUSUAL)
    before = stored(study)
    given, expected = CHANGES[step]
    response = console.post(address(study, step), shown(console, study, step) | given)
    slugs = [*STEPS, "review"]
    assert response["Location"] == address(study, slugs[slugs.index(step) + 1])
    assert stored(study) == replace(before, **expected)
    assert Study.objects.get(pk=study.pk).name == given.get("name", "Shapes")


def test_a_box_that_is_no_longer_ticked_is_taken_off(console: Client, ada: User) -> None:
    study = make_draft(owner=ada, zoom=True)
    values = shown(console, study, "people")
    del values["zoom"]
    console.post(address(study, "people"), values)
    assert stored(study).zoom is False


def test_fields_of_other_steps_are_not_taken(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    console.post(address(study, "people"), shown(console, study, "people") | {"seed": "99"})
    assert stored(study).seed == 0


NUMBERS = [
    (step, name)
    for step, each in STEPS.items()
    for name in each.fields
    if isinstance(StepForm.base_fields[name], forms.IntegerField)  # of which FloatField is a kind
]


@pytest.mark.parametrize("number", ["1e400", "-1e30", "nan", "many"])
@pytest.mark.parametrize(("step", "name"), NUMBERS)
def test_an_absurd_number_is_refused_at_its_field(
    console: Client, ada: User, step: str, name: str, number: str
) -> None:
    study = make_draft(owner=ada)
    before = stored(study)
    response = console.post(address(study, step), shown(console, study, step) | {name: number})
    assert response.status_code == 200
    assert response.context["form"].errors[name]
    assert values_of(response.content.decode())[name] == number
    assert stored(study) == before


def test_more_iterations_than_ddim_ends_with_are_refused_at_their_field(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    recipe = shown(console, study, "recipe") | {"scheduler": "ddim", "steps": "501"}
    response = console.post(address(study, "recipe"), recipe)
    assert response.status_code == 200
    assert "at most 500 with ddim" in str(response.context["form"].errors["steps"])
    assert stored(study).steps != 501
    assert console.post(address(study, "recipe"), recipe | {"scheduler": "euler"}).status_code == 302
    assert stored(study).steps == 501


@pytest.mark.parametrize(
    ("changes", "step", "given", "number"),
    [
        ({}, "arms", {"scales": "5, 7, 10"}, 3),
        ({}, "arms", {"scales": "5, 7, 10", "strength": "3"}, 3),
        ({"comparisons": ((0, 1), (0, 2), (1, 2))}, "comparisons", {"compare": "chosen", "pair_0_1": ""}, 1),
    ],
)
def test_the_primary_outcome_stays_with_its_two_arms(
    console: Client, ada: User, changes: dict[str, Any], step: str, given: dict[str, str], number: int
) -> None:
    study = make_draft(owner=ada, primary_comparison=2, **changes)
    values = {name: value for name, value in (shown(console, study, step) | given).items() if value}
    assert console.post(address(study, step), values).status_code == 302
    configuration = stored(study)
    assert configuration.primary_comparison == number
    baseline, candidate = configuration.compared[number - 1]
    assert (baseline, configuration.arms[candidate].to_dict()["scale"]) == (0, 10.0)


def test_a_primary_outcome_whose_arms_are_compared_no_more_is_told(console: Client, ada: User) -> None:
    study = make_draft(owner=ada, comparisons=((0, 1), (0, 2), (1, 2)), primary_comparison=3)
    read_as = shown(console, study, "comparisons")["read_as"]
    response = console.post(address(study, "comparisons"), {"compare": "baseline", "read_as": read_as})
    assert "its two arms are compared no more: choose another comparison" in response.content.decode()
    assert stored(study).primary_comparison == 3
    assert len(stored(study).compared) == 3


def test_a_plan_that_names_no_primary_outcome_goes_on_naming_none(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    values = shown(console, study, "arms") | {"scales": "10"}
    assert console.post(address(study, "arms"), values).status_code == 302
    assert stored(study).primary_comparison == 1


def test_openings_of_their_own_stay_when_the_baseline_changes(console: Client, ada: User) -> None:
    own = ClassifierFree(9.0, negative_prompt="ugly")
    candidates = (
        SegmentationFree(5.0, opening=OPENING),
        SegmentationFree(7.0, opening=own),
        PerturbedAttention(4.0, opening=OPENING),
    )
    study = make_draft(owner=ada, baseline=OPENING, candidates=candidates)
    assert console.post(address(study, "arms"), shown(console, study, "arms") | {"strength": "3"}).status_code == 302
    opening = replace(OPENING, strength=3.0)
    expected = (replace(candidates[0], opening=opening), candidates[1], replace(candidates[2], opening=opening))
    assert (stored(study).baseline, stored(study).candidates) == (opening, expected)


def test_what_does_not_fit_another_step_is_told_with_a_way_there(console: Client, ada: User) -> None:
    study = make_draft(owner=ada, primary_comparison=2)
    response = console.post(address(study, "arms"), shown(console, study, "arms") | {"scales": "5"})
    page = response.content.decode()
    assert "Nothing is saved yet" in page
    assert f'<a href="{address(study, step_of("primary_comparison"))}">Analysis</a>' in page
    assert len(stored(study).candidates) == 2


def test_sizes_that_the_set_does_not_allow_are_kept_and_marked(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    console.post(address(study, "sampling"), shown(console, study, "sampling") | {"subset_size": "5000"})
    assert stored(study).subset_size == 5000
    page = console.get(address(study, "sampling")).content.decode()
    assert "5000 prompts are asked for, “Scenes of Shapes” has 60." in page
    review = console.get(address(study, "review"))
    assert review.context["stopped"]
    assert 'value="Prepare"' not in review.content.decode()
    assert ">Prepare</button>" not in review.content.decode()


def test_a_quota_that_leaves_pairs_out_is_marked_and_may_stay(console: Client, ada: User) -> None:
    study = make_draft(owner=ada, quota=1)
    review = console.get(address(study, "review"))
    page = review.content.decode()
    assert "A quota of 2 has each of them rated once." in page
    assert not review.context["stopped"]
    assert ">Prepare</button>" in page


def test_the_review_counts_what_is_made(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    cost = cost_of(stored(study))
    # The baseline: 4 iterations of two predictions. The candidates of method §1.12 without it, K = 2, t_s = 2,
    # T = 4: 2·t_s + (1+K) + 2K(T−t_s−1) = 11 a prompt.
    assert (cost.first, cost.final) == (24, 24)
    assert cost.evaluations == 24 * 8 + 12 * 11
    assert f"{cost.evaluations:,}" in console.get(address(study, "review")).content.decode()


def test_the_review_says_whether_a_worker_is_there(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    assert "Nothing is\n" in console.get(address(study, "review")).content.decode()
    WorkerSign.objects.create(name="one", queues="cpu,gpu", busy=False, seen_at=timezone.now())
    page = console.get(address(study, "review")).content.decode()
    assert "1 worker that generates has" in page


def test_the_later_of_two_admins_is_refused_with_both_values(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    first, second = shown(console, study, "people"), shown(console, study, "people")
    console.post(address(study, "people"), first | {"quota": "9"})
    response = console.post(address(study, "people"), second | {"trials_per_evaluator": "6"})
    assert response.status_code == 409
    assert stored(study).trials_per_evaluator == 12
    again = values_of(response.content.decode())
    assert (again["quota"], again["trials_per_evaluator"]) == ("4", "6")
    assert console.post(address(study, "people"), again | {"quota": "9"}).status_code == 302
    assert (stored(study).quota, stored(study).trials_per_evaluator) == (9, 6)


def test_a_frozen_plan_has_no_steps(console: Client, ada: User) -> None:
    study = make_ready_study(owner=ada)
    for step in ("people", "review"):
        response = console.get(address(study, step), follow=True)
        assert response.redirect_chain == [(reverse("console:study", args=[study.pk]), 302)]
        assert "its plan is frozen" in response.content.decode()


def test_an_unknown_step_is_not_there(console: Client, ada: User) -> None:
    assert console.get(address(make_draft(owner=ada), "nothing")).status_code == 404


def test_a_new_plan_starts_with_a_preset_and_no_more_prompts_than_there_are(console: Client) -> None:
    prompts = make_prompt_set(60)
    start = reverse("console:start_plan")
    page = console.get(start).content.decode()
    response = console.post(start, values_of(page) | {"name": "New", "prompt_set": prompts.pk, "preset": "paper"})
    assert response.status_code == 302, response.context["form"].errors
    study = Study.objects.get(name="New")
    assert response["Location"] == address(study, "sampling")
    paper = StudyConfiguration(
        checkpoint="demo", subset_size=60, encoder="ViT-g-14", encoder_pretrained="laion2b_s12b_b42k"
    )
    differing = {
        field.name
        for field in dataclasses.fields(paper)
        if getattr(stored(study), field.name) != getattr(paper, field.name)
    }
    assert differing == set()


def test_a_new_plan_needs_a_free_name(console: Client, ada: User) -> None:
    make_draft(owner=ada)
    start = reverse("console:start_plan")
    values = values_of(console.get(start).content.decode())
    response = console.post(start, values | {"name": "Shapes"})
    assert "There is a study named “Shapes” already." in response.content.decode()
    assert Study.objects.count() == 1


def test_a_saved_recipe_is_tried_by_a_worker(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    console.post(address(study, "recipe"), shown(console, study, "recipe") | {"steps": "3"})
    check = RecipeCheck.objects.get(study=study)
    assert StudyConfiguration.from_json(check.configuration).steps == 3
    assert "Waiting for a worker" in console.get(address(study, "review")).content.decode()


def test_whoever_takes_the_defaults_goes_to_the_review_at_once(console: Client, ada: User) -> None:
    prompts = make_prompt_set(60)
    start = reverse("console:start_plan")
    values = values_of(console.get(start).content.decode()) | {"name": "New", "prompt_set": prompts.pk}
    assert "review" not in values  # a key press saves and goes on
    response = console.post(start, values | {"review": "1"})
    study = Study.objects.get(name="New")
    assert response["Location"] == address(study, "review")
    page = console.get(response["Location"]).content.decode()
    assert "Waiting for a worker to try it" in page
    assert "need a first subset of at least" in page  # what the defaults ask of so small a set
    sizes = {"subset_size": "24", "per_stratum": "4", "review": "1"}
    response = console.post(address(study, "sampling"), shown(console, study, "sampling") | sizes)
    assert response["Location"] == address(study, "review")
    assert stored(study).subset_size == 24
    assert RecipeCheck.objects.filter(study=study).count() == 1


def test_the_review_says_how_long_the_workers_take(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    assert "No worker has tried this recipe yet" in console.get(address(study, "review")).content.decode()
    act = reverse("console:act", args=[study.pk, "try"])
    assert console.post(act)["Location"] == address(study, "review") + "#recipe-check"
    WorkerSign.objects.create(name="one", queues="cpu,gpu", busy=False, seen_at=timezone.now())
    WorkerSign.objects.create(name="two", queues="gpu", busy=False, seen_at=timezone.now())
    found = {
        "checkpoint": "demo",
        "revision": "abc",
        "height": 64,
        "width": 64,
        "device": "cpu, 2 threads",
        "evaluation": 60.0,
        "picture": 30.0,
    }
    RecipeCheck.objects.update(
        state="done", done=2, findings={"parts": [found], "prompt": 10.0}, finished_at=timezone.now()
    )
    response = console.get(address(study, "review"))
    # 24·8 + 12·11 evaluations, 24 + 24 pictures and 60 prompts to encode, by two workers
    assert response.context["seconds"] == pytest.approx(((24 * 8 + 12 * 11) * 60 + 48 * 30 + 60 * 10) / 2)
    assert "with 2 workers like it" in response.content.decode()
    part = console.get(address(study, "review"), headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith('<div id="recipe-check"')


def test_a_recipe_that_no_worker_can_use_stops_the_plan(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    console.post(reverse("console:act", args=[study.pk, "try"]))
    RecipeCheck.objects.update(state="failed", error="there is no checkpoint at models/x", finished_at=timezone.now())
    response = console.get(address(study, "review"))
    assert response.context["stopped"]
    assert "There is no checkpoint at models/x." in response.content.decode()
    assert "to mend" in console.get(address(study, "people")).content.decode()


def test_the_review_estimates_time_and_pay(console: Client, ada: User) -> None:
    study = make_draft(owner=ada, quota=6)
    page = console.get(address(study, "review"), {"hourly": "12"})
    time = page.context["time"]
    showings = page.context["share"].showings
    assert (time.each, time.all) == (showings * 10, 6 * showings * 10)
    assert time.pay_all == pytest.approx(12 * time.all / 3600)
    assert "which is an assumption" in page.content.decode()
    for nonsense in ("", "-3", "nan", "inf", "ten", "1e400"):
        assert console.get(address(study, "review"), {"hourly": nonsense}).context["time"].hourly is None
