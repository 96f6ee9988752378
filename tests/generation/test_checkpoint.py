from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from diffusers import EDMEulerScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel

from evenhand.generation.checkpoint import DeviceError, load_pipeline
from evenhand.generation.fingerprints import CheckpointError, checkpoint_fingerprint
from evenhand.generation.guidance import SegmentationFree
from evenhand.generation.kinds.stable_diffusion import StableDiffusion
from evenhand.generation.kinds.stable_diffusion_xl import StableDiffusionXL
from evenhand.generation.network import is_compiled
from evenhand.generation.trajectory import generate

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint that the test may spoil."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


@pytest.fixture
def hub(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local hub cache, offline, that holds the checkpoint as ``ada/tiny``."""
    repository = tmp_path / "hub" / "models--ada--tiny"
    shutil.copytree(checkpoint, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return repository


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_a_saved_pipeline_makes_the_same_pictures(pipeline: StableDiffusionPipeline, checkpoint: Path) -> None:
    loaded = load_pipeline(checkpoint, device="cpu")
    assert loaded.unet.dtype == torch.float32  # the default on a CPU
    assert loaded.safety_checker is None
    arms = {"a": SegmentationFree(switch_after=1)}
    ours, theirs = (
        generate(each, ["a red circle"], [5], arms, steps=2, batch_size=1, return_latents=True)
        for each in (pipeline, loaded)
    )
    assert ours.latents is not None
    assert theirs.latents is not None
    assert np.array_equal(ours.latents["a"], theirs.latents["a"])
    assert np.array_equal(ours.images["a"], theirs.images["a"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16", "float64", "float16"])
def test_a_dtype_may_be_given_by_name(checkpoint: Path, dtype: torch.dtype | str) -> None:
    loaded = load_pipeline(str(checkpoint), device=torch.device("cpu"), dtype=dtype)
    expected = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert {loaded.unet.dtype, loaded.vae.dtype, loaded.text_encoder.dtype} == {expected}


def test_the_memory_layout_and_compiling_are_asked_for(checkpoint: Path) -> None:
    plain = load_pipeline(checkpoint, device="cpu")
    loaded = load_pipeline(checkpoint, device="cpu", channels_last=True, compiled=True)  # compiled when first called
    for part, name in (("unet", "conv_in.weight"), ("vae", "decoder.conv_in.weight")):
        weights, before = (dict(getattr(each, part).named_parameters())[name] for each in (loaded, plain))
        assert weights.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(weights, before)
    assert is_compiled(loaded.unet)
    assert not is_compiled(plain.unet)


def test_a_text_encoder_that_transformers_has_not_is_named(folder: Path) -> None:
    edit(folder / "model_index.json", lambda index: index.update(text_encoder=["transformers", "OracleModel"]))
    with pytest.raises(CheckpointError, match=r"text_encoder is transformers\.OracleModel"):
        load_pipeline(folder, device="cpu")


def test_a_hub_id_in_the_local_cache_is_loaded(hub: Path) -> None:
    assert load_pipeline("ada/tiny", device="cpu").unet.config.cross_attention_dim == 32
    assert checkpoint_fingerprint("ada/tiny") == COMMIT


# ------------------------------------------------------------------------------ what is no checkpoint


@pytest.mark.parametrize("name", ["nowhere", "/nowhere/at/all", "./no/folder"])
def test_a_folder_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name}.*does not exist"):
        load_pipeline(name, device="cpu")


def test_a_checkpoint_without_a_name_is_not_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(CheckpointError, match="the name is empty"):
        load_pipeline("", device="cpu")


def test_a_hub_id_that_is_not_there_is_named(hub: Path) -> None:
    with pytest.raises(CheckpointError, match="grace/huge is no folder here, and the hub did not give it"):
        load_pipeline("grace/huge", device="cpu")


def test_a_file_is_no_checkpoint(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model_index\.json is a file, not a folder"):
        load_pipeline(folder / "model_index.json", device="cpu")


def test_a_folder_without_an_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{tmp_path} has no model_index\.json"):
        load_pipeline(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("content", "message"), [(b"{", "is not JSON"), (b"[]", "holds no object"), (b"\xff", "is not JSON")]
)
def test_an_index_that_cannot_be_read_is_named(folder: Path, content: bytes, message: str) -> None:
    (folder / "model_index.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{folder}/model_index\.json {message}"):
        load_pipeline(folder, device="cpu")


@pytest.mark.parametrize("part", StableDiffusion.parts)
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    with pytest.raises(CheckpointError, match=f"{folder} lacks {part}/"):
        load_pipeline(folder, device="cpu")


def test_all_missing_parts_are_named(folder: Path) -> None:
    for part in ("vae", "unet"):
        shutil.rmtree(folder / part)
    with pytest.raises(CheckpointError, match="lacks unet/, vae/"):
        load_pipeline(folder, device="cpu")


@pytest.mark.parametrize("part", StableDiffusion.parts)
def test_a_part_that_the_index_leaves_empty_is_named(folder: Path, part: str) -> None:
    edit(folder / "model_index.json", lambda index: index.update({part: [None, None]}))
    with pytest.raises(CheckpointError, match=rf"{folder}.*{part}"):
        load_pipeline(folder, device="cpu")


def test_another_class_is_named(folder: Path) -> None:
    edit(folder / "model_index.json", lambda index: index.update(_class_name="StableDiffusion3Pipeline"))
    expected = rf"{folder} is a StableDiffusion3Pipeline, not a StableDiffusionPipeline or StableDiffusionXLPipeline"
    with pytest.raises(CheckpointError, match=expected):
        load_pipeline(folder, device="cpu")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_are_missing_or_end_early_are_named(folder: Path, part: str) -> None:
    weights = next((folder / part).glob("*.safetensors"))
    whole = weights.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4], b""):
        weights.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"checkpoint {folder} cannot be loaded"):
            load_pipeline(folder, device="cpu")
    weights.unlink()
    with pytest.raises(CheckpointError, match=f"checkpoint {folder} cannot be loaded"):
        load_pipeline(folder, device="cpu")


def test_weights_that_lack_a_tensor_are_refused(folder: Path) -> None:
    """diffusers and transformers say so in their log only; the latter makes up the weights."""
    for part in ("unet", "vae", "text_encoder"):
        weights = next((folder / part).glob("*.safetensors"))
        whole = weights.read_bytes()
        name = rename_one_tensor(weights)
        with pytest.raises(CheckpointError, match=f"weights of its {part} lack .*{name.removeprefix('text_model.')}"):
            load_pipeline(folder, device="cpu")
        weights.write_bytes(whole)


def rename_one_tensor(weights: Path) -> str:
    """Give the last tensor of a safetensors file a name that no network knows; returns the one it had."""
    content = weights.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    name = sorted(key for key in header if key != "__metadata__")[-1]
    header["nonsense"] = header.pop(name)
    text = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    return name


@pytest.mark.parametrize("part", StableDiffusion.parts)
def test_a_configuration_that_is_not_json_is_named(folder: Path, part: str) -> None:
    for file in (folder / part).glob("*.json"):
        file.write_text("{")
    with pytest.raises(CheckpointError, match=f"checkpoint {folder} cannot be loaded"):
        load_pipeline(folder, device="cpu")


def small_unet(**changed: object) -> UNet2DConditionModel:
    settings: dict = {
        "sample_size": 8,
        "block_out_channels": (32,),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**(settings | changed))


@pytest.mark.parametrize(
    ("unet", "message"),
    [
        (small_unet(in_channels=9), "no text-to-image model: its network takes 9 channels, its latents have 4"),
        (small_unet(time_cond_proj_dim=16), "guidance distilled in"),
        (
            small_unet(
                addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=80
            ),
            r"addition_embed_type='text_time'\) needs other added conditions than its kind",
        ),
        (small_unet(class_embed_type="timestep"), r"class_embed_type='timestep'\) needs class labels"),
        (small_unet(num_class_embeds=10), r"num_class_embeds=10\) needs class labels"),
        (small_unet(dual_cross_attention=True), r"dual_cross_attention=True\) needs two texts"),
        (small_unet(encoder_hid_dim=16, encoder_hid_dim_type="image_proj"), "its network reads 'image_proj'"),
        (
            small_unet(down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), mid_block_type=None),
            "no cross-attention",
        ),
        (small_unet(cross_attention_dim=48), "reads texts of width 48, its text encoder gives 32"),
    ],
)
def test_a_network_that_guidance_does_not_fit_is_refused(
    folder: Path, unet: UNet2DConditionModel, message: str
) -> None:
    shutil.rmtree(folder / "unet")
    unet.save_pretrained(folder / "unet")
    with pytest.raises(CheckpointError, match=f"{folder}.*{message}"):
        load_pipeline(folder, device="cpu")


def test_a_checkpoint_whose_scheduler_knows_no_betas_is_refused(folder: Path) -> None:
    EDMEulerScheduler().save_pretrained(folder / "scheduler")
    edit(folder / "model_index.json", lambda index: index.update(scheduler=["diffusers", "EDMEulerScheduler"]))
    with pytest.raises(CheckpointError, match=f"{folder}.*EDMEulerScheduler has no noise schedule of betas"):
        load_pipeline(folder, device="cpu")


# ------------------------------------------------------------------------------ Stable Diffusion XL


@pytest.fixture
def xl_folder(xl: StableDiffusionXLPipeline, tmp_path: Path) -> Path:
    """The tiny XL saved as a diffusers folder that the test may spoil."""
    xl.save_pretrained(tmp_path / "xl", safe_serialization=True)
    return tmp_path / "xl"


def test_a_saved_xl_makes_the_same_pictures(xl: StableDiffusionXLPipeline, xl_folder: Path) -> None:
    loaded = load_pipeline(xl_folder, device="cpu")
    assert isinstance(loaded, StableDiffusionXLPipeline)
    assert loaded.watermark is None
    options: dict[str, Any] = {"steps": 2, "batch_size": 1, "scheduler": "euler", "return_latents": True}
    ours, theirs = (
        generate(each, ["a red circle"], [5], {"a": SegmentationFree(switch_after=1)}, **options)
        for each in (xl, loaded)
    )
    assert ours.latents is not None
    assert theirs.latents is not None
    assert np.array_equal(ours.latents["a"], theirs.latents["a"])
    assert np.array_equal(ours.images["a"], theirs.images["a"])
    assert ours.provenance == theirs.provenance


def test_all_parts_of_an_xl_must_be_there(xl_folder: Path) -> None:
    for part in ("text_encoder_2", "tokenizer_2"):
        assert part in StableDiffusionXL.parts
        shutil.rmtree(xl_folder / part)
    with pytest.raises(CheckpointError, match=f"{xl_folder} lacks text_encoder_2/, tokenizer_2/"):
        load_pipeline(xl_folder, device="cpu")


def test_an_xl_whose_second_encoder_lacks_a_tensor_is_refused(xl_folder: Path) -> None:
    name = rename_one_tensor(next((xl_folder / "text_encoder_2").glob("*.safetensors")))
    with pytest.raises(CheckpointError, match=f"weights of its text_encoder_2 lack .*{name}"):
        load_pipeline(xl_folder, device="cpu")


@pytest.mark.parametrize(
    ("unet", "message"),
    [
        (small_unet(), r"\(addition_embed_type=None\) takes no added conditions"),
        (
            small_unet(
                addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=56
            ),
            "added conditions of width 56, and gets 64",
        ),
    ],
)
def test_a_network_that_does_not_fit_an_xl_is_refused(
    xl_folder: Path, unet: UNet2DConditionModel, message: str
) -> None:
    shutil.rmtree(xl_folder / "unet")
    unet.save_pretrained(xl_folder / "unet")
    with pytest.raises(CheckpointError, match=f"{xl_folder}.*{message}"):
        load_pipeline(xl_folder, device="cpu")


# ------------------------------------------------------------------------------ devices and dtypes


@pytest.mark.parametrize("dtype", ["float8", "int8", torch.int8, "", 16, []])
def test_an_unknown_dtype_is_named(checkpoint: Path, dtype: object) -> None:
    with pytest.raises(DeviceError, match="dtype must be one of float16, bfloat16, float32, float64, not ") as caught:
        load_pipeline(checkpoint, device="cpu", dtype=dtype)  # type: ignore[arg-type]
    assert repr(dtype) in str(caught.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", None])
def test_an_unknown_device_is_named(checkpoint: Path, device: Any) -> None:
    with pytest.raises(DeviceError, match=f"device {device!r}"):
        load_pipeline(checkpoint, device=device)


def test_a_gpu_beyond_those_present_is_named(checkpoint: Path) -> None:
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    with pytest.raises(DeviceError, match=f"'cuda:{present}' was asked for, but this machine offers {present} CUDA"):
        load_pipeline(checkpoint, device=f"cuda:{present}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", torch.device("cuda"), "mps", "xpu", "meta"])
def test_an_accelerator_that_is_absent_is_named(checkpoint: Path, device: str | torch.device) -> None:
    with pytest.raises(DeviceError, match=str(device)):
        load_pipeline(checkpoint, device=device)


# ------------------------------------------------------------------------------ the fingerprint


def test_the_fingerprint_is_sha256_over_the_files_hashes(tmp_path: Path) -> None:
    """As ``sha256sum`` writes them, sorted by name, with one space: hidden files are not content."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "b.json").write_bytes(b"abc")
    (tmp_path / "unet" / "a.bin").write_bytes(b"")
    (tmp_path / ".gitattributes").write_text("hidden")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x").write_text("hidden")
    lines = (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad b.json\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 unet/a.bin\n"
    )
    assert checkpoint_fingerprint(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()


def test_the_fingerprint_changes_with_any_byte_and_name_but_not_with_the_place(checkpoint: Path, folder: Path) -> None:
    fingerprint = checkpoint_fingerprint(checkpoint)
    assert checkpoint_fingerprint(str(folder)) == fingerprint
    (folder / "unet" / "config.json").rename(folder / "unet" / "config.txt")
    renamed = checkpoint_fingerprint(folder)
    (folder / "unet" / "config.txt").rename(folder / "unet" / "config.json")
    assert checkpoint_fingerprint(folder) == fingerprint
    weights = next((folder / "vae").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert len({fingerprint, renamed, checkpoint_fingerprint(folder)}) == 3


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_linked_files_count_with_their_content(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    weights = next((folder / "vae").glob("*.safetensors"))
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    assert checkpoint_fingerprint(folder) == checkpoint_fingerprint(checkpoint)


def test_nothing_has_no_fingerprint(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty holds no files"):
        checkpoint_fingerprint(tmp_path / "empty")
    for name in ("grace/huge", "nowhere"):
        with pytest.raises(CheckpointError, match=f"{name} is neither a folder nor a hub id in the local cache"):
            checkpoint_fingerprint(name)
