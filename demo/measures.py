"""Compute the model card's measures: rates, leakage, sharpness, distance to renders, attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage, stats

from evenhand.demo import judge, scenes
from evenhand.metrics.frechet import frechet_distance

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionPipeline

KINDS = ("colour", "shape", "surface", "bound", "place", "background", "all", "all, one thing", "leakage")


@dataclass(frozen=True)
class Rate:
    """A share of findings; NaN if there are none."""

    hits: int
    total: int

    @property
    def share(self) -> float:
        """hits / total."""
        return self.hits / self.total if self.total else float("nan")

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Compute the Wilson interval, which treats findings as independent."""
        if not self.total:
            return (float("nan"), float("nan"))
        limits = stats.binomtest(self.hits, self.total).proportion_ci(level, method="wilson")
        return (float(limits.low), float(limits.high))

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{100 * self.share:.0f} ({100 * low:.0f}–{100 * high:.0f})" if self.total else "–"


def judged(pictures: np.ndarray, captions: Sequence[str]) -> dict[str, Rate]:
    """Count the judge's findings by kind over uint8 (N, H, W, 3) pictures.

    colour, shape, surface, bound (colour and shape): per thing; place: per relation; all: per caption; leakage: per
    caption in which one thing could take another's colour or surface.
    """
    findings: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for picture, caption in zip(pictures, captions, strict=True):
        description = scenes.parse(caption)
        verdict = judge.judge(picture, description)
        for thing in verdict.things:
            findings["colour"].append(thing.colour)
            findings["shape"].append(thing.shape)
            findings["surface"].append(thing.surface)
            findings["bound"].append(thing.colour and thing.shape)
        findings["place"].extend(verdict.places)
        findings["background"].append(verdict.background)
        findings["all"].append(verdict.all_right)
        if len(verdict.things) == 1:
            findings["all, one thing"].append(verdict.all_right)
        leaked = judge.leakage(picture, description)
        if leaked is not None:
            findings["leakage"].append(leaked)
    return {kind: Rate(sum(values), len(values)) for kind, values in findings.items()}


def rendered(captions: Sequence[str], seed: int = 0) -> np.ndarray:
    """Render every caption, uint8 (N, 64, 64, 3), for comparison with the pictures."""
    rng = np.random.default_rng(seed)
    return np.stack([scenes.render(scenes.place(scenes.parse(caption), rng))[0] for caption in captions])


def sharpness(pictures: np.ndarray) -> float:
    """Compute the mean gradient magnitude of the luminance, grey levels a pixel."""
    luminance = pictures.astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722])  # (N, H, W)
    return float(np.hypot(np.gradient(luminance, axis=1), np.gradient(luminance, axis=2)).mean())


def image_features(pictures: np.ndarray, clip: Any) -> np.ndarray:
    """Compute CLIP image features, float32 (N, d)."""
    import torch
    from PIL import Image

    with torch.inference_mode():
        batch = torch.stack([clip.transform(Image.fromarray(picture)) for picture in pictures])
        features = torch.cat([clip.model.encode_image(part) for part in batch.split(64)])
    array: np.ndarray = features.float().numpy()
    return array


def distance_to_renders(pictures: np.ndarray, renders: np.ndarray, clip: Any) -> float:
    """Compute the Fréchet distance of CLIP image features; with few pictures it only ranks and is not an FID."""
    return frechet_distance(image_features(pictures, clip), image_features(renders, clip))


def caption_preference(clip: Any, count: int, seed: int = 31) -> Rate:
    """Measure how often CLIP prefers a render's own caption to one with an exchanged attribute."""
    from evenhand.metrics.clip import clip_scores

    rng = np.random.default_rng(seed)
    random_scenes = [scenes.sample_scene(rng) for _ in range(count)]
    pictures = [scenes.render(scene)[0] for scene in random_scenes]
    right_captions = [scenes.describe(scene.description, rng) for scene in random_scenes]
    wrong_captions = [
        scenes.describe(scenes.exchange_attribute(scene.description, rng), rng) for scene in random_scenes
    ]
    better = clip_scores(pictures, right_captions, clip) > clip_scores(pictures, wrong_captions, clip)
    return Rate(int(better.sum()), count)


@dataclass(frozen=True)
class AttentionShare:
    """Means over patches and scenes of one cross-attention module's head-mean weights.

    first: the begin-of-sentence token's; chosen: the semantic token's (eq. 9); overlap: intersection over union of the
    patches whose semantic token names a thing with the thing's true patches.
    """

    module: str
    first: float
    chosen: float
    overlap: float


@dataclass(frozen=True)
class NoisedScenes:
    """True renders of random scenes with the network's other inputs.

    pictures: uint8 (64, 64, 3); masks: bool (things, 64, 64); latents, noise: (n, C, h, w); states: (n, tokens, width).
    """

    captions: list[str]
    pictures: list[np.ndarray]
    masks: list[np.ndarray]
    latents: torch.Tensor
    noise: torch.Tensor
    states: torch.Tensor

    def at(self, pipeline: StableDiffusionPipeline, timestep: int) -> torch.Tensor:
        """Return the noisy latents (n, C, h, w) at a timestep."""
        import torch

        noisy: torch.Tensor = pipeline.scheduler.add_noise(self.latents, self.noise, torch.tensor([timestep]))
        return noisy


def noised_scenes(pipeline: StableDiffusionPipeline, count: int, seed: int) -> NoisedScenes:
    """Draw ``count`` random scenes with their captions, latents and text states."""
    import torch

    from evenhand.demo.training import data

    rng = np.random.default_rng(seed)
    random_scenes = [scenes.sample_scene(rng) for _ in range(count)]
    pictures, masks = zip(*(scenes.render(scene) for scene in random_scenes), strict=True)
    captions = [scenes.describe(scene.description, rng) for scene in random_scenes]
    with torch.inference_mode():
        latents = pipeline.vae.encode(data.to_tensor(list(pictures))).latent_dist.mean
        states = pipeline.text_encoder(data.tokenize(pipeline.tokenizer, captions))[0]
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    return NoisedScenes(captions, list(pictures), list(masks), latents, noise, states)


def attention_shares(
    pipeline: StableDiffusionPipeline, count: int = 64, timestep: int = 400, seed: int = 41
) -> list[AttentionShare]:
    """Measure the network's attention on true renders noised to a middle timestep of a trajectory."""
    import torch

    from evenhand.demo.training import data
    from evenhand.demo.training.denoiser import Recorder

    scene_batch = noised_scenes(pipeline, count, seed)
    groups = [data.token_groups(pipeline.tokenizer, caption)[:-1] for caption in scene_batch.captions]
    names = [name for name in pipeline.unet.attn_processors if ".attn2." in name]
    processors = dict(pipeline.unet.attn_processors)
    recorders = {name: Recorder() for name in names}
    pipeline.unet.set_attn_processor(processors | recorders)
    try:
        with torch.inference_mode():
            pipeline.unet(scene_batch.at(pipeline, timestep), torch.tensor(timestep), scene_batch.states)
    finally:
        pipeline.unet.set_attn_processor(processors)
    return [_share(name, recorders[name].weights, groups, scene_batch.masks) for name in names]


def covered(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Mark the patches of ``grid`` that a thing's mask, bool (size, size), covers by more than half."""
    rows, columns = grid
    parts = mask.reshape(rows, mask.shape[0] // rows, columns, mask.shape[1] // columns)
    mostly_covered: np.ndarray = parts.mean(axis=(1, 3)) > 0.5
    return mostly_covered


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Compute the intersection over union of two bool arrays of one shape; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def _share(name: str, weights: Any, groups: list[list[list[int]]], masks: list[np.ndarray]) -> AttentionShare:
    array: np.ndarray = weights.numpy()  # (scenes, patches, tokens)
    side = int(array.shape[1] ** 0.5)
    semantic_tokens = array[:, :, 1:].argmax(axis=-1) + 1
    overlaps = []
    for tokens, things, mask in zip(semantic_tokens, groups, masks, strict=True):
        for group, truth in zip(things, mask, strict=True):
            overlaps.append(overlap(covered(truth, (side, side)), np.isin(tokens.reshape(side, side), group)))
    return AttentionShare(
        module=name.removesuffix(".processor").removesuffix(".transformer_blocks.0.attn2"),
        first=float(array[:, :, 0].mean()),
        chosen=float(np.take_along_axis(array, semantic_tokens[..., None], axis=-1).mean()),
        overlap=float(np.mean(overlaps)),
    )


def contact_sheet(pictures: Mapping[str, np.ndarray], count: int, scale: int = 2) -> np.ndarray:
    """Draw one row per arm and one column per caption, uint8, enlarged by a whole number."""
    rows = [np.concatenate(list(images[:count]), axis=1) for images in pictures.values()]
    sheet: np.ndarray = ndimage.zoom(np.concatenate(rows, axis=0), (scale, scale, 1), order=0)
    return sheet
