"""PickScore's numbers, beside transformers' own, with a tiny random CLIP; and DINOv2's class token."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
)

from evenhand.metrics.dinov2 import Dinov2
from evenhand.metrics.local_models import LocalModelError
from evenhand.metrics.pickscore import DEFAULT, PickScore, load_pickscore, pick_scores
from tests.helpers.tiny_models import tiny_tokenizer

TEXTS = ["a red circle", "a blue square on the left", "a dog"]


def write_model(folder: Path, *, safe: bool = True) -> Path:
    """Two layers a tower, with preprocessing, as a folder of transformers."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(4)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = CLIPTextConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **ends, **tower)
    vision = CLIPVisionConfig(image_size=16, patch_size=8, **tower)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    model = CLIPModel(config)
    for parameter in model.parameters():
        parameter.data *= 3.0  # so that texts and pictures differ
    model.save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    images.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PickScore:
    return load_pickscore(str(write_model(tmp_path_factory.mktemp("pick") / "tiny")))


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + i, 24, 3), dtype=np.uint8) for i in range(3)]


@torch.inference_mode()
def test_a_score_is_the_models_own_logit(model: PickScore) -> None:
    scores = pick_scores(pictures(), TEXTS, model, batch_size=2)
    assert scores.dtype == np.float32
    for score, picture, text in zip(scores, pictures(), TEXTS, strict=True):
        inputs = model.processor(images=picture, text=[text], return_tensors="pt", padding=True)
        assert score == pytest.approx(float(model.model(**inputs).logits_per_image[0, 0]), rel=1e-4)
    assert np.ptp(scores) > 1e-4
    assert pick_scores([], [], model).shape == (0,)
    assert model.label == f"pickscore:tiny@{model.fingerprint[:8]}"
    assert replace(model, name=DEFAULT, is_local=False).label == "pickscore"
    assert replace(model, name="owner/model", is_local=False).label == "pickscore:model"


def test_a_folders_label_follows_its_weights_and_its_preprocessing(tmp_path: Path) -> None:
    labels = []
    for parent, changed in (("one", None), ("two", None), ("three", "preprocessor_config.json"), ("four", "weights")):
        folder = write_model(tmp_path / parent / "model")
        if changed == "weights":
            path = folder / "model.safetensors"
            save_file({key: 2 * value for key, value in load_file(path).items()}, path, {"format": "pt"})
        elif changed:
            settings = json.loads((folder / changed).read_text())
            (folder / changed).write_text(json.dumps(settings | {"image_mean": [0.1, 0.2, 0.3]}))
        labels.append(load_pickscore(str(folder)).label)
    assert labels[0] == labels[1]
    assert len(set(labels)) == 3


def test_a_score_does_not_depend_on_its_companions(model: PickScore) -> None:
    together = pick_scores(pictures(), TEXTS, model, batch_size=4)
    alone = [float(pick_scores([p], [t], model, batch_size=4)[0]) for p, t in zip(pictures(), TEXTS, strict=True)]
    assert together.tolist() == alone


def test_pickles_and_other_architectures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match=r"no safetensors; pytorch_model\.bin are pickles"):
        load_pickscore(str(write_model(tmp_path / "pickled", safe=False)))
    with pytest.raises(LocalModelError, match="holds a 'clip' model, not a 'dinov2' one"):
        Dinov2(str(write_model(tmp_path / "clip")))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(LocalModelError, match=r"config\.json cannot be read"):
        load_pickscore(str(tmp_path / "nothing"))
    with pytest.raises(LocalModelError, match="'no/such-model' cannot be loaded"):
        load_pickscore("no/such-model")


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    path = write_model(tmp_path / "partial") / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "text_projection" not in k}, path, {"format": "pt"})
    with pytest.raises(LocalModelError, match="1 are missing, for example text_projection"):
        load_pickscore(str(path.parent))


def test_bad_pairs_are_named(model: PickScore) -> None:
    with pytest.raises(ValueError, match="3 images but 2 texts"):
        pick_scores(pictures(), TEXTS[:2], model)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        pick_scores(pictures(), TEXTS, model, batch_size=0)


def test_dinov2_gives_the_class_token(tmp_path: Path) -> None:
    torch.manual_seed(1)
    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    reference = Dinov2Model(Dinov2Config(image_size=28, patch_size=14, **size)).eval()
    reference.save_pretrained(tmp_path / "dino")
    embedder = Dinov2(str(tmp_path / "dino"))
    prepared = [embedder.prepare(each) for each in pictures()]
    assert prepared[0].shape == (3, 224, 224)
    ours = embedder.embed(prepared)["class_token"]
    assert ours.shape == (3, embedder.outputs["class_token"]) == (3, 24)
    with torch.inference_mode():
        theirs = reference(pixel_values=torch.stack(prepared)).pooler_output.numpy()
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_dinov2s_name_follows_its_configuration(tmp_path: Path) -> None:
    """References are kept under it; weights alone do not tell heads from one another."""
    size = {"hidden_size": 24, "num_hidden_layers": 1, "mlp_ratio": 2, "image_size": 28, "patch_size": 14}
    names = []
    for folder, changed in (("one", {}), ("two/one", {}), ("heads/one", {"num_attention_heads": 4})):
        torch.manual_seed(1)
        config = Dinov2Config(**{"num_attention_heads": 2} | size | changed)
        Dinov2Model(config).save_pretrained(tmp_path / folder)
        names.append(Dinov2(str(tmp_path / folder)).name)
    assert names[0] == names[1] != names[2]
