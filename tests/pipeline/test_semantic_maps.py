"""A worker reads off which token each patch of a picture followed; pictures without such a choice are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.generation.images import decode_png
from evenhand.generation.semantics import START
from evenhand.studies.models import Arm, Comparison, Image, Pair, Recipe, SemanticMap, Study
from evenhand.studies.pipeline import semantic_maps
from evenhand.studies.work import queue
from tests.helpers.factories import drawn_image, flat_colour
from tests.helpers.made_pictures import made
from tests.helpers.tiny_models import tiny_pipeline

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def image(checkpoint: str) -> Image:
    return made(checkpoint, SegmentationFree(5.0, switch_after=1, opening=ClassifierFree(2.0)), "euler")


def work() -> int:
    return queue.work_through({SemanticMap: semantic_maps.HANDLER}, semantic_maps.QUEUE)


def test_the_map_names_a_token_of_the_prompt_for_each_patch(image: Image) -> None:
    pictures = Image.objects.count()
    (asked,) = semantic_maps.ask([image])
    assert work() == 1
    asked.refresh_from_db()
    assert asked.found is not None
    tokens, names = np.asarray(asked.found["tokens"]), asked.found["names"]
    assert tokens.ndim == 2
    assert names[0] == START
    assert 0 <= tokens.min() <= tokens.max() < len(names)
    assert Image.objects.count() == pictures  # the picture that was drawn again is not stored


def test_what_is_there_is_not_made_again_and_what_failed_is(image: Image) -> None:
    semantic_maps.ask([image])
    SemanticMap.objects.update(state="failed", error="the disk was full", errors=3)
    (asked,) = semantic_maps.ask([image])
    asked.refresh_from_db()
    assert (asked.state, asked.errors) == ("waiting", 0)
    work()
    semantic_maps.ask([image])
    assert SemanticMap.objects.get().state == SemanticMap.State.DONE


def test_plain_guidance_and_unknown_methods_have_no_map(checkpoint: str) -> None:
    image = made(checkpoint, ClassifierFree(2.0), "euler")
    assert semantic_maps.ask([image]) == []
    image.provenance["guidance"] = {"method": "of_a_package_that_is_gone"}
    assert not semantic_maps.has_map(image)
    image.provenance = {}
    assert not semantic_maps.has_map(image)


@pytest.fixture
def pair(image: Image) -> Pair:
    study = Study.objects.get()
    assert image.arm is not None
    plain = Arm.objects.create(label="plain", guidance=ClassifierFree(2.0).to_dict(), fingerprint="plain")
    comparison = Comparison.objects.create(study=study, position=0, baseline=plain, candidate=image.arm)
    other = drawn_image(image.prompt, plain, Recipe.objects.get(), flat_colour)
    return Pair.objects.create(
        comparison=comparison, prompt=image.prompt, stratum="high", baseline_image=other, candidate_image=image
    )


def test_the_page_asks_a_worker_and_shows_the_map(client: Client, pair: Pair) -> None:
    study = pair.comparison.study
    client.force_login(study.owner)
    page = reverse("console:pair", args=[study.pk, pair.pk])
    maps = reverse("console:maps", args=[study.pk, pair.pk])
    picture = reverse("console:image_map", args=[pair.candidate_image_id])
    assert "Not made yet." in client.get(page).content.decode()
    assert client.get(picture).status_code == 404
    assert client.post(maps)["Location"] == page + "#maps"
    part = client.get(maps).content.decode()
    assert "Waiting for a worker." in part
    assert 'hx-trigger="every 2s"' in part
    work()
    part = client.get(maps).content.decode()
    assert picture in part
    assert "hx-trigger" not in part
    drawn = decode_png(client.get(picture).content)
    assert drawn.shape[0] > drawn.shape[1] >= 16  # the picture, enlarged, and the legend below


def test_the_command_asks_for_maps(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("study", "maps", "Shapes", str(pair.pk))
    assert "1 maps of pair" in capsys.readouterr().out
    assert SemanticMap.objects.get().image == pair.candidate_image
    with pytest.raises(CommandError, match="no pair 999999"):
        call_command("study", "maps", "Shapes", "999999")
