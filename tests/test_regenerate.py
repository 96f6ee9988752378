"""``manage.py regenerate``: an image from its row alone."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from evenhand.generation.guidance import ClassifierFree, SegmentationFree, methods
from evenhand.generation.images import decode_png, encode_png
from evenhand.studies.image_store import store_image
from evenhand.studies.models import Arm, Image
from evenhand.studies.pipeline.remaking import differences, how_far_apart
from tests.helpers.factories import drawn_image
from tests.helpers.made_pictures import made
from tests.helpers.stored import image_path
from tests.helpers.tiny_models import tiny_pipeline, tiny_xl_pipeline

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny model of the generation tests: pictures of 16×16 pixels in next to no time."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def image(checkpoint: str) -> Image:
    return made(checkpoint, SegmentationFree(5.0, switch_after=1, opening=ClassifierFree(2.0)), "euler")


def regenerate(*arguments: object) -> str:
    output = StringIO()
    call_command("regenerate", *map(str, arguments), stdout=output)
    return output.getvalue()


def test_an_image_is_made_again_from_its_row(image: Image, tmp_path: Path) -> None:
    """Alone in its batch, and yet the same bytes."""
    copy = tmp_path / "again.png"
    said = regenerate(image.pk, "--output", copy)
    assert "The bytes are equal" in said
    assert said.count(image.sha256) == 2
    assert copy.read_bytes() == image_path(image.sha256).read_bytes()
    assert "The bytes are equal" in regenerate(image.sha256)
    with pytest.raises(CommandError, match=r"again\.png is there already"):
        regenerate(image.pk, "--output", copy)


@pytest.mark.parametrize("method", list(methods()))
def test_an_image_of_every_method_is_made_again(checkpoint: str, method: str) -> None:
    kind: type[Any] = methods()[method]
    image = made(checkpoint, kind(switch_after=1, opening=ClassifierFree(2.0)), (*kind.schedulers, "ddpm")[0])
    assert "The bytes are equal" in regenerate(image.pk)


def test_an_image_of_stable_diffusion_xl_is_made_again(tmp_path: Path) -> None:
    tiny_xl_pipeline().save_pretrained(tmp_path / "xl")
    image = made(str(tmp_path / "xl"), SegmentationFree(5.0, switch_after=1), "euler")
    assert image.provenance["added_conditions"]["target_size"] == [16, 16]
    assert "The bytes are equal" in regenerate(image.pk)


def test_the_row_names_what_the_bytes_depend_on(image: Image) -> None:
    record = image.provenance
    assert record["prompt"] == image.prompt.text
    assert record["scheduler"]["name"] == "euler"
    assert record["scheduler"]["config"]["beta_end"] == 0.012
    assert record["rows"] == {"network": 8, "vae": 4, "text": 4}
    assert {"torch", "diffusers", "transformers", "pillow", "zlib"} <= record["versions"].keys()
    assert "batch_size_asked" not in record


def test_a_file_that_was_changed_is_told(image: Image) -> None:
    path = image_path(image.sha256)
    picture = decode_png(path.read_bytes())
    path.write_bytes(encode_png(255 - picture))
    with pytest.raises(CommandError, match="The stored file was changed") as caught:
        regenerate(image.pk)
    assert str(path) in str(caught.value)
    assert "other bytes" not in str(caught.value)  # the picture itself can be made again as recorded


def test_a_file_that_is_lost_is_told(image: Image) -> None:
    image_path(image.sha256).unlink()
    with pytest.raises(CommandError, match="The stored file is not there"):
        regenerate(image.pk)


def test_other_bytes_come_with_what_differs_in_the_environment(image: Image) -> None:
    """The row of a picture that another machine made."""
    picture = decode_png(image_path(image.sha256).read_bytes())
    picture[:2, :8] ^= 4  # 16 of 256 pixels
    image.sha256 = store_image(encode_png(picture))
    image.provenance["versions"]["torch"] = "2.0.0"
    image.provenance["device"] = "NVIDIA H200"
    image.save()
    with pytest.raises(CommandError) as caught:
        regenerate(image.pk)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The picture made now has other bytes than the recorded one."
    assert lines[1] == "6.2% of the pixels differ, by at most 4 grey levels of 255."
    assert lines[2] == "  device: NVIDIA H200 then, cpu now"
    assert lines[3].startswith("  versions.torch: 2.0.0 then, 2.")
    assert len(lines) == 4


def test_equal_records_and_pixels_are_said_to_be_equal() -> None:
    record = {"rows": {"vae": 4}, "prompt": "a cat"}
    assert list(differences(record, {"rows": {"vae": 4}})) == []  # the prompt is taken from the record
    assert list(differences(record, {"rows": {"vae": 2}, "threads": 1})) == [
        "  rows.vae: 4 then, 2 now",
        "  threads: nothing then, 1 now",
    ]
    picture = np.zeros((4, 6, 3), np.uint8)
    assert how_far_apart(picture, picture) == "The pixels are equal: the encoding differs."
    assert how_far_apart(picture, picture[:2]) == "Its size was 6×4, now it is 6×2."


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("name", ["99999", "f" * 64, "nonsense", "9" * 40])
def test_an_image_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(CommandError, match=f"no image '{name}'"):
        regenerate(name)


def test_records_that_do_not_suffice_are_named(image: Image) -> None:
    assert image.recipe is not None
    flat = drawn_image(image.prompt, Arm.objects.create(label="x", guidance={}, fingerprint="x"), image.recipe)
    with pytest.raises(CommandError, match="cannot be made again: its record lacks prompt, seed"):
        regenerate(flat.pk)
    image.provenance["scheduler"] = "euler"
    image.save()
    with pytest.raises(CommandError, match="lacks the scheduler configuration"):
        regenerate(image.pk)
    image.kind = Image.Kind.UPLOADED
    image.save()
    with pytest.raises(CommandError, match="uploaded and done; only a generated one"):
        regenerate(image.pk)


def test_a_checkpoint_that_changed_is_refused(image: Image, checkpoint: str) -> None:
    image.provenance["revision"] = "0" * 64
    image.save()
    with pytest.raises(CommandError, match=r"cannot be made again: the checkpoint .* has changed") as caught:
        regenerate(image.pk)
    assert checkpoint in str(caught.value)
