"""Odd pairs are counted and named before a study is opened: equal pictures, pictures of one colour."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.lifecycle import LifecycleError, open_study
from evenhand.studies.models import Image, ImageScore, Pair, Stage, Study
from evenhand.studies.picture_flags import OddPairs, odd_pairs
from evenhand.studies.score_names import ONE_COLOUR
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.study_page import study_page

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"))
    Stage.objects.create(study=study, name="prompts", position=0)
    return study


def page_of(client: Client, study: Study) -> str:
    client.force_login(study.owner)
    return " ".join(study_page(client, study).split())


def test_a_study_of_different_pictures_has_no_notice(client: Client, study: Study) -> None:
    assert set(odd_pairs(study).values()) == {OddPairs(0, ())}
    page = page_of(client, study)
    assert "of equal pictures" not in page
    assert "of one colour" not in page


def test_equal_pictures_are_counted_and_their_prompts_named(client: Client, study: Study) -> None:
    pairs = Pair.objects.filter(comparison__study=study, comparison__position=0).order_by("prompt__index")[:7]
    for pair in pairs:
        Image.objects.filter(pk=pair.candidate_image_id).update(sha256=pair.baseline_image.sha256)
    found = odd_pairs(study)["equal_pairs"]
    assert found.count == 7
    assert list(found.prompts) == [pair.prompt.text for pair in pairs[:5]]
    assert "<strong>7 pairs of equal pictures.</strong>" in page_of(client, study)


def test_a_picture_of_one_colour_spoils_every_pair_that_shows_it(client: Client, study: Study) -> None:
    pair = Pair.objects.filter(comparison__study=study)[0]
    ImageScore.objects.create(image=pair.baseline_image, metric=ONE_COLOUR, value=1.0)
    assert odd_pairs(study)["one_coloured"].count == 2  # the baseline stands against both candidates
    assert "2 pairs with a picture of one colour." in page_of(client, study)


def test_pictures_that_nobody_can_tell_apart_are_counted(client: Client, study: Study) -> None:
    first, second, third = Pair.objects.filter(comparison__study=study).order_by("pk")[:3]
    for pair, difference in ((first, 2), (second, 3), (third, 0)):
        Pair.objects.filter(pk=pair.pk).update(largest_difference=difference)
    found = odd_pairs(study)
    assert (found["alike_pairs"].count, found["equal_pairs"].count) == (1, 1)
    assert "1 pair of pictures without a visible difference." in page_of(client, study)


def test_an_arm_without_effect_is_named(client: Client, study: Study) -> None:
    comparison = study.comparisons.order_by("position")[1]
    comparison.pairs.update(largest_difference=1)
    page = page_of(client, study)
    assert f"<strong>{comparison.candidate.label}</strong> looks like {comparison.baseline.label} in every pair" in page


def test_a_study_with_odd_pairs_opens_only_where_that_is_said(client: Client, study: Study) -> None:
    Pair.objects.filter(comparison__study=study).update(largest_difference=0)
    with pytest.raises(LifecycleError, match="pairs of equal pictures: change the plan, or say"):
        open_study(study)
    client.force_login(study.owner)
    address = reverse("console:act", args=[study.pk, "open"])
    client.post(address)
    study.refresh_from_db()
    assert study.state == Study.State.READY
    assert 'name="accept_odd_pairs" required' in page_of(client, study)
    client.post(address, {"accept_odd_pairs": "on"})
    study.refresh_from_db()
    assert study.state == Study.State.COLLECTING
    count = Pair.objects.filter(comparison__study=study).count()
    assert study.events.get(action="opened").detail["accepted"] == [f"{count} pairs of equal pictures"]
