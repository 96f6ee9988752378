"""Odd pairs are counted and named before a study is opened: equal pictures, pictures of one colour."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.models import Image, ImageScore, Pair, Stage, Study
from evenhand.studies.picture_flags import equal_pairs, one_coloured_pairs
from evenhand.studies.score_names import ONE_COLOUR
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"))
    Stage.objects.create(study=study, name="prompts", position=0)
    return study


def page_of(client: Client, study: Study) -> str:
    client.force_login(study.owner)
    return " ".join(client.get(reverse("console:study", args=[study.pk])).content.decode().split())


def test_a_study_of_different_pictures_has_no_notice(client: Client, study: Study) -> None:
    assert (equal_pairs(study).count, one_coloured_pairs(study).count) == (0, 0)
    page = page_of(client, study)
    assert "of equal pictures" not in page
    assert "of one colour" not in page


def test_equal_pictures_are_counted_and_their_prompts_named(client: Client, study: Study) -> None:
    pairs = Pair.objects.filter(comparison__study=study, comparison__position=0).order_by("prompt__index")[:7]
    for pair in pairs:
        Image.objects.filter(pk=pair.candidate_image_id).update(sha256=pair.baseline_image.sha256)
    found = equal_pairs(study)
    assert found.count == 7
    assert list(found.prompts) == [pair.prompt.text for pair in pairs[:5]]
    assert "<strong>7 pairs of equal pictures.</strong>" in page_of(client, study)


def test_a_picture_of_one_colour_spoils_every_pair_that_shows_it(client: Client, study: Study) -> None:
    pair = Pair.objects.filter(comparison__study=study)[0]
    ImageScore.objects.create(image=pair.baseline_image, metric=ONE_COLOUR, value=1.0)
    assert one_coloured_pairs(study).count == 2  # the baseline stands against both candidates
    assert "2 pairs with a picture of one colour." in page_of(client, study)
