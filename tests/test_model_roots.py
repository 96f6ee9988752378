"""From where studies may load models: allowed folders alone, safetensors alone; errors do not tell where things lie."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from safetensors.torch import load_file

from evenhand.generation.checkpoint import load_pipeline
from evenhand.generation.fingerprints import CheckpointError
from evenhand.studies.model_roots import ModelPlaceError, check_metric, check_model, without_folders
from evenhand.studies.models import Stage, Study
from evenhand.studies.pipeline import stages
from evenhand.studies.work import queue
from tests.helpers.factories import make_admin, make_draft, make_prompt_set
from tests.helpers.html_forms import values_of


@pytest.fixture
def models(tmp_path: Path, settings: Any) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    settings.MODEL_ROOTS = [str(settings.DEMO_CHECKPOINT), str(folder)]
    return folder


def weights(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "",
        "demo",
        "owner/name",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "ViT-g-14",
        "laion2b_s12b_b42k",
        "x" * 500,
    ],
)
def test_names_that_are_no_paths_are_left_to_the_loaders(models: Path, name: str) -> None:
    check_model(name)


@pytest.mark.parametrize(
    "name",
    ["/", "/proc", "/etc/passwd", "/there/is/nothing", "..", "../..", "../models", ".", "./x", "a/../../b", "~/x/y"],
)
def test_paths_outside_are_refused_whether_they_exist_or_not(models: Path, name: str) -> None:
    with pytest.raises(ModelPlaceError, match=r"lies in none of the folders.*EVENHAND_MODEL_ROOTS"):
        check_model(name)


def test_a_folder_below_a_root_is_allowed_and_a_link_out_of_it_is_not(models: Path, tmp_path: Path) -> None:
    inside = weights(models / "sd", "config.json", "model.safetensors")
    outside = weights(tmp_path / "elsewhere", "config.json", "model.safetensors")
    (models / "link").symlink_to(outside)
    check_model(str(inside))
    check_model(str(models / "not there yet"))
    check_model(str(models / ("x" * 400)))  # longer than a file's name may be
    for name in (models / "link", models / ".." / "elsewhere", f"{models}-beside/x"):
        with pytest.raises(ModelPlaceError, match="none of the folders"):
            check_model(str(name))


def test_pickled_weights_are_refused_unless_they_are_allowed(models: Path, settings: Any) -> None:
    weights(models / "sd" / "unet", "config.json", "diffusion_pytorch_model.bin")
    weights(models / "sd" / "vae", "config.json", "model.safetensors", "model.bin")
    with pytest.raises(ModelPlaceError, match=r"diffusion_pytorch_model\.bin.*safetensors"):
        check_model(str(models / "sd"))
    check_model(str(weights(models / "both", "config.json", "model.safetensors", "model.bin")))
    weights(models, "hps.pt")
    with pytest.raises(ModelPlaceError, match=r"hps\.pt"):
        check_metric(f"hps={models / 'hps.pt'}")
    settings.MODEL_PICKLES = True
    check_model(str(models / "sd"))
    check_metric(f"hps={models / 'hps.pt'}")


@pytest.mark.parametrize("metric", ["pickscore=/srv/x", "clip=ViT-B-32,/srv/w.safetensors", "dinov2=/", "hps=/w.pt"])
def test_metrics_load_from_there_too(models: Path, metric: str) -> None:
    for well in ("clip", "pickscore", "clip=ViT-g-14,laion2b_s12b_b42k", "pickscore=owner/name"):
        check_metric(well)
    with pytest.raises(ModelPlaceError):
        check_metric(metric)


def test_the_library_refuses_pickles_on_request(tmp_path: Path, settings: Any) -> None:
    """A copy of the demo's checkpoint, whose network is pickled: loaded by default, refused where asked to."""
    copy = tmp_path / "copy"
    shutil.copytree(settings.DEMO_CHECKPOINT, copy)
    [tensors] = (copy / "unet").glob("*.safetensors")
    torch.save(load_file(tensors), copy / "unet" / "diffusion_pytorch_model.bin")
    tensors.unlink()
    load_pipeline(copy, device="cpu")
    with pytest.raises(CheckpointError, match=r"cannot be loaded.*safetensors"):
        load_pipeline(copy, device="cpu", safetensors_only=True)


def test_errors_name_what_lies_in_the_servers_folders_without_them(settings: Any) -> None:
    settings.OWN_FOLDERS = ["/srv/evenhand", "/srv/evenhand/var"]
    text = "no file in /srv/evenhand/var/models/sd; /srv/evenhand/x; /srv/evenhand; /data/sd"
    assert without_folders(text) == "no file in …/models/sd; …/x; …/evenhand; /data/sd"


# ------------------------------------------------------------------------------ where it is asked


@pytest.fixture
def ada(db: None) -> User:
    return make_admin("ada")


@pytest.mark.parametrize("field", ["checkpoint", "encoder", "encoder_pretrained"])
def test_the_plan_names_the_field(client: Client, ada: User, models: Path, field: str) -> None:
    client.force_login(ada)
    make_prompt_set()
    address = reverse("console:new_study")
    values = values_of(client.get(address).content.decode()) | {"name": "A", "subset_size": "60", "per_stratum": "5"}
    answer = client.post(address, values | {field: "/proc"})
    assert list(answer.context["form"].errors) == [field]
    assert "/proc lies in none of the folders" in answer.content.decode()
    assert str(models) not in answer.content.decode()
    assert not Study.objects.exists()


def test_a_step_of_the_plan_and_settings_to_try_name_it_too(client: Client, ada: User, models: Path) -> None:
    client.force_login(ada)
    study = make_draft(owner=ada)
    for address, field in (
        (reverse("console:plan_step", args=[study.pk, "recipe"]), "checkpoint"),
        (reverse("console:prompt_set", args=[study.prompt_set_id]), "encoder"),
    ):
        answer = client.post(address, values_of(client.get(address).content.decode()) | {field: "/"})
        assert "/ lies in none of the folders" in answer.content.decode(), address


def test_a_worker_refuses_what_came_another_way(ada: User, models: Path) -> None:
    """A plan from a file or a bundle, which no form has seen."""
    study = make_draft(owner=ada, checkpoint="/proc")
    stages.prepare(study)
    batch = queue.claim(stages.Batch, "gpu")
    assert batch is not None
    assert not queue.run(batch, stages.HANDLER)
    assert "/proc lies in none of the folders" in Stage.objects.get(name="prompts").error
