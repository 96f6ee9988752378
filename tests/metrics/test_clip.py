"""The CLIP score, and what loading a CLIP model refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from evenhand.metrics.clip import ClipEmbedder, ClipError, ClipModel, clip_scores, load_clip, tokenize
from tests.helpers.tiny_clip import swap_two_words, tiny_clip, write_clip

TEXTS = ["a red circle", "a blue square on the left", "a dog", "a cat and a dog", "the green star above a circle"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    return tiny_clip(tmp_path_factory.mktemp("score") / "clip")


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + i, 24, 3), dtype=np.uint8) for i in range(count)]


@torch.inference_mode()
def test_a_score_is_the_raw_cosine(clip: ClipModel) -> None:
    scores = clip_scores(pictures(5), TEXTS, clip)
    assert scores.dtype == np.float32
    assert scores.shape == (5,)
    for score, picture, text in zip(scores, pictures(5), TEXTS, strict=True):
        image = clip.model.encode_image(clip.transform(Image.fromarray(picture))[None]).double().numpy()[0]
        words = clip.model.encode_text(tokenize(clip, [text])).double().numpy()[0]
        cosine = image @ words / np.sqrt((image @ image) * (words @ words))
        assert score == pytest.approx(cosine, abs=1e-6)
    assert np.abs(scores).max() <= 1 + 1e-6
    assert np.ptp(scores) > 1e-3  # they do differ


def test_a_score_does_not_depend_on_its_companions(clip: ClipModel) -> None:
    """Bit for bit: every call has the same number of rows, and each row is computed for itself."""
    together = clip_scores(pictures(5), TEXTS, clip, batch_size=4)
    alone = [float(clip_scores([p], [t], clip, batch_size=4)[0]) for p, t in zip(pictures(5), TEXTS, strict=True)]
    assert together.tolist() == alone
    turned = clip_scores(pictures(5)[::-1], TEXTS[::-1], clip, batch_size=4)
    assert turned[::-1].tolist() == together.tolist()


def test_no_pictures_have_no_scores(clip: ClipModel) -> None:
    assert clip_scores([], [], clip).shape == (0,)


@pytest.mark.parametrize(
    ("images", "texts", "message"),
    [
        (pictures(2), TEXTS[:3], "2 images but 3 texts"),
        ([pictures(1)[0].astype(np.float32)], TEXTS[:1], "image 0 must be uint8"),
        ([*pictures(1), pictures(1)[0][..., 0]], TEXTS[:2], r"image 1 must be .*\(20, 24\)"),
        ([np.zeros((4, 4, 4), np.uint8)], TEXTS[:1], r"image 0 .*\(4, 4, 4\)"),
        ([np.zeros((0, 4, 3), np.uint8)], TEXTS[:1], r"image 0 .*\(0, 4, 3\)"),
    ],
)
def test_bad_pictures_are_named(clip: ClipModel, images: list, texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip_scores(images, texts, clip)


def test_an_empty_batch_is_refused(clip: ClipModel) -> None:
    with pytest.raises(ValueError, match=r"batch_size.*-1"):
        clip_scores(pictures(1), TEXTS[:1], clip, batch_size=-1)


# ------------------------------------------------------------------------------ loading


def test_a_folder_without_its_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"open_clip_config\.json, open_clip_model\.safetensors is missing") as caught:
        load_clip(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_spoilt_weights_are_named(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "clip")
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ClipError, match="clip' cannot be loaded"):
        load_clip(str(folder))


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("no-such-model", None, "neither a folder nor an open_clip model named 'no-such-model'"),
        ("ViT-B-32", "nonsense", "no pretrained tag 'nonsense', nor is that a file; its tags are .*laion2b_s34b_b79k"),
        ("ViT-B-32", None, "ViT-B-32 needs a pretrained tag"),
    ],
)
def test_an_unknown_model_or_tag_is_named(name: str, pretrained: str | None, message: str) -> None:
    with pytest.raises(ClipError, match=message):
        load_clip(name, pretrained)


def test_weights_of_another_activation_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """open_clip only warns. Nothing is downloaded here: whatever passes the check ends at the replaced function."""

    def reached(*_: object, **__: object) -> None:
        raise RuntimeError("it would be loaded")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", reached)
    for name, tag in (("ViT-B-32", "openai"), ("ViT-L-14", "dfn2b"), ("ViT-bigG-14", "metaclip_fullcc")):
        with pytest.raises(ClipError, match=f"'{tag}' were trained with QuickGELU.*; choose {name}-quickgelu"):
            load_clip(name, tag)
        with pytest.raises(ClipError, match="it would be loaded"):
            load_clip(f"{name}-quickgelu", tag)
    for name, tag in (("ViT-g-14", "laion2b_s12b_b42k"), ("roberta-ViT-B-32", "laion2b_s12b_b32k")):
        with pytest.raises(ClipError, match="it would be loaded"):
            load_clip(name, tag)


def test_loading_twice_gives_the_same_scores(tmp_path: Path) -> None:
    folder = str(write_clip(tmp_path / "clip"))
    first, second = (clip_scores(pictures(2), TEXTS[:2], load_clip(folder)) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_a_file_of_weights_is_loaded_into_a_named_model(tmp_path: Path) -> None:
    torch.manual_seed(3)
    saved = open_clip.create_model("ViT-S-32-alt")
    path = tmp_path / "weights.pt"
    torch.save(saved.state_dict(), path)
    loaded = load_clip("ViT-S-32-alt", str(path))
    assert loaded.label == f"ViT-S-32-alt/weights.pt@{loaded.fingerprint[:8]}"
    ids = tokenize(loaded, ["a dog"])
    with torch.inference_mode():
        assert torch.equal(loaded.model.encode_text(ids), saved.eval().encode_text(ids))


def test_a_file_that_holds_no_weights_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"no weights")
    with pytest.raises(ClipError, match=r"'ViT-S-32-alt' with '.*weights\.pt' cannot be loaded"):
        load_clip("ViT-S-32-alt", str(path))


@torch.inference_mode()
def test_the_embedder_gives_open_clips_features(clip: ClipModel) -> None:
    embedder = ClipEmbedder(clip)
    ours = embedder.embed([embedder.prepare(each) for each in pictures(3)])["image"]
    assert ours.shape == (3, embedder.outputs["image"])
    for row, picture in zip(ours, pictures(3), strict=True):
        theirs = clip.model.encode_image(clip.transform(Image.fromarray(picture))[None])[0].numpy()
        assert np.allclose(row, theirs, rtol=1e-5, atol=1e-6)
    assert embedder.name.startswith("clip/clip/")
    assert len(clip.fingerprint) == 16


def test_a_folders_label_follows_its_weights_and_its_tokenizer(tmp_path: Path) -> None:
    labels = []
    for parent, seed in (("one", 5), ("two", 5), ("three", 6), ("four", 5)):
        (tmp_path / parent).mkdir()
        folder = write_clip(tmp_path / parent / "clip", seed=seed)
        if parent == "four":
            swap_two_words(folder)
        loaded = load_clip(str(folder))
        assert loaded.label == f"clip@{loaded.fingerprint[:8]}"
        labels.append(loaded.label)
    assert labels[0] == labels[1]
    assert len(set(labels)) == 3


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        ("model_cfg", "quick_gelu", False),
        ("preprocess_cfg", "mean", [0.4, 0.5, 0.5]),
        ("preprocess_cfg", "std", [0.5, 0.5, 0.4]),
        ("preprocess_cfg", "resize_mode", "squash"),
    ],
)
def test_the_embedders_name_follows_what_its_features_depend_on(
    tmp_path: Path, part: str, setting: str, value: object
) -> None:
    """References are kept under it: the same weights set up otherwise give other features."""
    folder = write_clip(tmp_path / "clip")
    names = [ClipEmbedder(load_clip(str(folder))).name for _ in range(2)]
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config[part][setting] = value
    path.write_text(json.dumps(config))
    assert names[0] == names[1] != ClipEmbedder(load_clip(str(folder))).name
