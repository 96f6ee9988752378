"""A draft's candidates by forms: every method's settings have fields, and a step changes one candidate alone."""

from __future__ import annotations

import dataclasses
import json
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree, fingerprint, methods
from evenhand.generation.methods.adaptive_projected import AdaptiveProjected
from evenhand.generation.methods.diffusers_guider import DiffusersGuider
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.generation.methods.settings import settings_of
from evenhand.generation.methods.strength_matched import StrengthMatched
from evenhand.studies.configuration import ConfigurationError, StudyConfiguration
from evenhand.studies.console.candidates import with_candidate
from evenhand.studies.console.method_fields import CandidateForm, key_of, new_candidate, offered
from evenhand.studies.drafts import change_draft, configuration_of
from evenhand.studies.models import Study
from tests.helpers.factories import make_admin, make_draft, make_ready_study
from tests.helpers.html_forms import values_of

pytestmark = pytest.mark.django_db

BASELINE = ClassifierFree(6.0, "blurry")
FIRST, SECOND = SegmentationFree(5.0, opening=BASELINE), PerturbedAttention(opening=BASELINE, switch_after=1)


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


@pytest.fixture
def draft(ada: User) -> Study:
    return make_draft(ada, baseline=BASELINE, candidates=(FIRST, SECOND), primary_comparison=2)


def stored(study: Study) -> StudyConfiguration:
    return configuration_of(Study.objects.get(pk=study.pk))


def address(study: Study, name: str = "candidates", guidance: Guidance | None = None) -> str:
    key = [] if guidance is None else [fingerprint(guidance)[:16]]
    return reverse(f"console:{name}", args=[study.pk, *key])


def add(console: Client, study: Study, key: str, **values: Any) -> Any:
    page = f"{address(study, 'new_candidate')}?method={key}"
    shown = values_of(console.get(page).content.decode())
    return console.post(page, shown | values, follow=True)


def text_of(response: Any) -> str:
    return unescape(response.content.decode())


@pytest.mark.parametrize("key", list(offered()))
def test_every_setting_of_every_method_has_a_field(key: str) -> None:
    kind, variant = offered()[key]
    guidance = new_candidate(key, BASELINE)
    form = CandidateForm(guidance=guidance)
    expected = set(settings_of(kind)) - {"opening", kind.variant_by, "settings"}
    expected |= {"opening_strength", "opening_negative_prompt", "original"}
    expected |= {f"option_{name}" for name in kind.variants.get(variant, ())}
    assert set(form.fields) == expected
    for name, field in form.fields.items():
        assert name == "original" or (field.label and (field.help_text or name == "opening_negative_prompt"))
    assert kind is ClassifierFree or guidance.opening == BASELINE  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", methods().values(), ids=list(methods()))
def test_a_candidate_saved_again_stays_bit_for_bit(console: Client, ada: User, kind: type[Any]) -> None:
    opening = ClassifierFree(0.1 + 0.2, " fog ", rescale=0.3)
    mine = kind(switch_after=2, opening=opening, strength=1 / 3)
    study = make_draft(ada, baseline=BASELINE, candidates=(mine,))
    page = address(study, "change_candidate", mine)
    shown = values_of(console.get(page).content.decode())
    assert console.post(page, shown).status_code == 302
    assert stored(study).candidates == (mine,)


def test_candidates_are_added_changed_and_removed(console: Client, draft: Study) -> None:
    response = add(console, draft, "adaptive_projected", strength="9.5", norm_limit="", switch_after="0")
    apg = AdaptiveProjected(9.5, norm_limit=None, switch_after=0, opening=BASELINE)
    assert f"Added: {apg.label()}." in text_of(response)
    guider = "diffusers_guider.AdaptiveProjectedGuidance"
    options = {"option_adaptive_projected_guidance_norm_dim": "-1, -2", "option_use_original_formulation": "on"}
    add(console, draft, guider, **options, opening_strength="3")
    projected = DiffusersGuider(
        "AdaptiveProjectedGuidance",
        {"adaptive_projected_guidance_norm_dim": [-1, -2], "use_original_formulation": True},
        opening=ClassifierFree(3.0, "blurry"),
    )
    assert stored(draft).candidates == (FIRST, SECOND, apg, projected)

    page = address(draft, "change_candidate", SECOND)
    shown = values_of(console.get(page).content.decode())
    assert shown["layers"] == "mid_block"
    console.post(page, shown | {"layers": "mid_block, up_blocks", "text_strength": "7.5"})
    changed = PerturbedAttention(layers=("mid_block", "up_blocks"), text_strength=7.5, opening=BASELINE, switch_after=1)
    assert stored(draft).candidates == (FIRST, changed, apg, projected)

    console.post(address(draft, "remove_candidate", FIRST))
    after = stored(draft)
    assert after.candidates == (changed, apg, projected)
    assert after.primary_comparison == 1  # it stays with its candidate
    listed = text_of(console.get(address(draft)))
    for label in (changed.label(), apg.label(), projected.label(), BASELINE.label()):
        assert label in listed


def test_another_method_is_chosen_among_the_candidates(console: Client, draft: Study) -> None:
    page = f"{address(draft, 'new_candidate')}?method=strength_matched"
    html = text_of(console.get(page))
    assert SECOND.label() in html
    shown = values_of(html) | {"guidance": json.dumps(SECOND.to_dict()), "switch_after": "1"}
    console.post(page, shown)
    matched = StrengthMatched(SECOND, switch_after=1, opening=BASELINE)
    assert stored(draft).candidates == (FIRST, SECOND, matched)
    again = text_of(console.get(address(draft, "change_candidate", matched)))
    assert f">{matched.label()}</option>" not in again  # it cannot match itself
    assert f">{SECOND.label()}</option>" in again
    assert "``" not in again
    response = console.post(page, shown | {"guidance": '{"method": "classifier_free"}'})
    assert "is not one of the available choices" in text_of(response)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("adaptive_projected", {"eta": "2"}, "less than or equal to 1"),
        ("adaptive_projected", {"strength": ""}, "This field is required."),
        ("perturbed_attention", {"layers": " , "}, "Give names, separated by commas."),
        ("perturbed_attention", {"first": "3", "stop": "2"}, "stop must lie beyond first (3), not 2"),
        ("scheduled_classifier_free", {"strengths": "3, strong"}, "Give numbers, separated by commas."),
        ("scheduled_classifier_free", {"switch_after": "9"}, "switch_after must lie in 0…4 for 4 steps, not 9"),
        ("classifier_free_plus_plus", {"strength": "0.5"}, "works with the scheduler ddim alone"),
        ("diffusers_guider.MagnitudeAwareGuidance", {"option_start": "0.5", "option_stop": "0.2"}, "at most at stop"),
        (
            "diffusers_guider.AdaptiveProjectedGuidance",
            {"option_adaptive_projected_guidance_norm_dim": "7"},
            "norm_dim must lie in -3…-1",
        ),
    ],
)
def test_what_cannot_be_is_told_and_kept(
    console: Client, ada: User, key: str, values: dict[str, str], message: str
) -> None:
    study = make_draft(ada, baseline=BASELINE, candidates=(FIRST,), scheduler="euler")
    before = stored(study)
    response = add(console, study, key, **values)
    assert message in text_of(response)
    shown = values_of(response.content.decode())
    assert {name: shown[name] for name in values} == values
    assert stored(study) == before


def test_a_method_that_does_not_exist_is_told(console: Client, draft: Study) -> None:
    response = console.get(f"{address(draft, 'new_candidate')}?method=magic", follow=True)
    assert "there is no method 'magic'; choose among classifier_free" in text_of(response)


def test_a_second_press_adds_changes_and_removes_nothing_more(console: Client, draft: Study) -> None:
    for _ in range(2):
        add(console, draft, "adaptive_projected")
    assert len(stored(draft).candidates) == 3
    page = address(draft, "change_candidate", SECOND)
    shown = values_of(console.get(page).content.decode()) | {"strength": "5"}
    for _ in range(2):
        assert console.post(page, shown).status_code == 302
    assert stored(draft).candidates[1].strength == 5.0  # type: ignore[attr-defined]
    for _ in range(2):
        assert console.post(address(draft, "remove_candidate", FIRST)).status_code == 302
    assert len(stored(draft).candidates) == 2


def test_what_was_filled_in_is_kept_where_somebody_else_removed_the_candidate(
    console: Client, ada: User, draft: Study
) -> None:
    page = address(draft, "change_candidate", SECOND)
    shown = values_of(console.get(page).content.decode()) | {"strength": "5"}
    changed = stored(draft)
    change_draft(study=draft, actor=ada, configuration=with_candidate(changed, SECOND, None))
    response = console.post(page, shown)
    assert response.status_code == 409
    assert "Save again to add yours as one more" in text_of(response)
    again = f"{address(draft, 'new_candidate')}?method={key_of(SECOND)}"
    assert f'action="{again}"' in text_of(response)
    console.post(again, values_of(response.content.decode()))
    assert stored(draft).candidates == (FIRST, PerturbedAttention(5.0, opening=BASELINE, switch_after=1))
    assert console.get(address(draft, "change_candidate", SECOND)).status_code == 302


def test_other_changes_of_the_plan_stay(console: Client, ada: User, draft: Study) -> None:
    page = f"{address(draft, 'new_candidate')}?method=adaptive_projected"
    shown = values_of(console.get(page).content.decode())
    change_draft(study=draft, actor=ada, configuration=dataclasses.replace(stored(draft), quota=7))
    console.post(page, shown)
    assert (stored(draft).quota, len(stored(draft).candidates)) == (7, 3)


def test_the_last_candidate_and_equal_ones_are_refused(console: Client, ada: User) -> None:
    study = make_draft(ada, baseline=BASELINE, candidates=(FIRST,))
    response = console.post(address(study, "remove_candidate", FIRST), follow=True)
    assert "give at least one candidate" in text_of(response)
    response = add(console, study, "classifier_free", strength="6", negative_prompt="blurry")
    assert "the baseline and the candidates must all differ" in text_of(response)


def test_the_primary_outcome_stays_with_its_candidate() -> None:
    third = AdaptiveProjected()
    plan = StudyConfiguration(checkpoint="demo", candidates=(FIRST, SECOND, third), primary_comparison=2)
    assert with_candidate(plan, FIRST, None).primary_comparison == 1
    assert with_candidate(plan, SECOND, None).primary_comparison == 1
    assert with_candidate(plan, third, None).primary_comparison == 2
    assert with_candidate(plan, SECOND, AdaptiveProjected(2.0)).primary_comparison == 2
    assert with_candidate(plan, None, AdaptiveProjected(2.0)).primary_comparison == 2


def test_comparisons_that_the_plan_names_stay_with_their_arms() -> None:
    third, other = AdaptiveProjected(), AdaptiveProjected(2.0)
    plan = StudyConfiguration(
        checkpoint="demo",
        candidates=(FIRST, SECOND, third),
        comparisons=((0, 1), (1, 2), (2, 3)),
        primary_comparison=3,
    )
    changed = with_candidate(plan, SECOND, other)
    assert (changed.comparisons, changed.primary_comparison) == (((0, 1), (1, 2), (2, 3)), 3)
    without_third = with_candidate(plan, third, None)
    assert (without_third.comparisons, without_third.primary_comparison) == (((0, 1), (1, 2)), 1)
    with pytest.raises(ConfigurationError, match="arm 0 is in no comparison"):
        with_candidate(plan, FIRST, None)
    more = with_candidate(plan, None, other)
    assert (more.comparisons, more.primary_comparison) == (((0, 1), (1, 2), (2, 3), (0, 4)), 3)


def test_only_a_draft_s_owner_may(client: Client, ada: User, draft: Study) -> None:
    pages = [address(draft), address(draft, "change_candidate", FIRST), address(draft, "new_candidate")]
    assert all(client.get(page).status_code == 302 for page in pages)
    client.force_login(make_admin("grace"))
    assert all(client.get(page).status_code == 404 for page in pages)
    assert client.post(address(draft, "remove_candidate", FIRST)).status_code == 404
    client.force_login(ada)
    assert client.get(address(draft, "remove_candidate", FIRST)).status_code == 405
    ready = make_ready_study(ada, name="Ready")
    response = client.get(address(ready), follow=True)
    assert "is no draft any more" in text_of(response)
    mine = stored(ready).candidates[0]
    assert client.post(address(ready, "change_candidate", mine), {}).status_code == 302
    assert client.post(address(ready, "remove_candidate", mine), follow=True).status_code == 200
    assert mine in stored(ready).candidates
