"""What the model card reports of pictures: rates with intervals, leakage, sharpness, distance to renders, attention."""

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
    """A share of findings; NaN where there are none."""

    hits: int
    total: int

    @property
    def share(self) -> float:
        """hits / total."""
        return self.hits / self.total if self.total else float("nan")

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson interval; it treats findings as independent."""
        if not self.total:
            return (float("nan"), float("nan"))
        found = stats.binomtest(self.hits, self.total).proportion_ci(level, method="wilson")
        return (float(found.low), float(found.high))

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{100 * self.share:.0f} ({100 * low:.0f}–{100 * high:.0f})" if self.total else "–"


def judged(pictures: np.ndarray, captions: Sequence[str]) -> dict[str, Rate]:
    """The judge's findings by kind over uint8 (N, H, W, 3) pictures.

    colour, shape, surface, bound (colour and shape): per thing; place: per relation; all: per caption; leakage: per
    caption in which one thing could take another's colour or surface.
    """
    found: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for picture, caption in zip(pictures, captions, strict=True):
        description = scenes.parse(caption)
        verdict = judge.judge(picture, description)
        for thing in verdict.things:
            found["colour"].append(thing.colour)
            found["shape"].append(thing.shape)
            found["surface"].append(thing.surface)
            found["bound"].append(thing.colour and thing.shape)
        found["place"].extend(verdict.places)
        found["background"].append(verdict.background)
        found["all"].append(verdict.all_right)
        if len(verdict.things) == 1:
            found["all, one thing"].append(verdict.all_right)
        leaked = judge.leakage(picture, description)
        if leaked is not None:
            found["leakage"].append(leaked)
    return {kind: Rate(sum(values), len(values)) for kind, values in found.items()}


def rendered(captions: Sequence[str], seed: int = 0) -> np.ndarray:
    """A true render of every caption, uint8 (N, 64, 64, 3): what the pictures are compared with."""
    rng = np.random.default_rng(seed)
    return np.stack([scenes.render(scenes.place(scenes.parse(caption), rng))[0] for caption in captions])


def sharpness(pictures: np.ndarray) -> float:
    """Mean gradient magnitude of the luminance, grey levels a pixel."""
    luminance = pictures.astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722])  # (N, H, W)
    return float(np.hypot(np.gradient(luminance, axis=1), np.gradient(luminance, axis=2)).mean())


def image_features(pictures: np.ndarray, clip: Any) -> np.ndarray:
    """CLIP image features, float32 (N, d)."""
    import torch
    from PIL import Image

    with torch.inference_mode():
        batch = torch.stack([clip.transform(Image.fromarray(picture)) for picture in pictures])
        features = torch.cat([clip.model.encode_image(part) for part in batch.split(64)])
    array: np.ndarray = features.float().numpy()
    return array


def distance_to_renders(pictures: np.ndarray, renders: np.ndarray, clip: Any) -> float:
    """Fréchet distance of the CLIP image features; far below 2,048 pictures it only ranks, it is no FID."""
    return frechet_distance(image_features(pictures, clip), image_features(renders, clip))


def caption_preference(clip: Any, count: int, seed: int = 31) -> Rate:
    """How often CLIP prefers a render's own caption to one with an attribute exchanged."""
    from evenhand.metrics.clip import clip_scores

    rng = np.random.default_rng(seed)
    drawn = [scenes.sample_scene(rng) for _ in range(count)]
    pictures = [scenes.render(scene)[0] for scene in drawn]
    right = [scenes.describe(scene.description, rng) for scene in drawn]
    wrong = [scenes.describe(scenes.exchange_attribute(scene.description, rng), rng) for scene in drawn]
    better = clip_scores(pictures, right, clip) > clip_scores(pictures, wrong, clip)
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
    """True renders of random scenes, to be noised, and what the network reads beside them.

    pictures: uint8 (64, 64, 3); masks: bool (things, 64, 64); latents, noise: (n, C, h, w); states: (n, tokens, width).
    """

    captions: list[str]
    pictures: list[np.ndarray]
    masks: list[np.ndarray]
    latents: torch.Tensor
    noise: torch.Tensor
    states: torch.Tensor

    def at(self, pipeline: StableDiffusionPipeline, timestep: int) -> torch.Tensor:
        """The noisy latents (n, C, h, w) at a timestep."""
        import torch

        noisy: torch.Tensor = pipeline.scheduler.add_noise(self.latents, self.noise, torch.tensor([timestep]))
        return noisy


def noised_scenes(pipeline: StableDiffusionPipeline, count: int, seed: int) -> NoisedScenes:
    """``count`` random scenes with their captions, ready for the network."""
    import torch

    from evenhand.demo.training import data

    rng = np.random.default_rng(seed)
    drawn = [scenes.sample_scene(rng) for _ in range(count)]
    pictures, masks = zip(*(scenes.render(scene) for scene in drawn), strict=True)
    captions = [scenes.describe(scene.description, rng) for scene in drawn]
    with torch.inference_mode():
        latents = pipeline.vae.encode(data.to_tensor(list(pictures))).latent_dist.mean
        states = pipeline.text_encoder(data.tokenize(pipeline.tokenizer, captions))[0]
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    return NoisedScenes(captions, list(pictures), list(masks), latents, noise, states)


def attention_shares(
    pipeline: StableDiffusionPipeline, count: int = 64, timestep: int = 400, seed: int = 41
) -> list[AttentionShare]:
    """What the network attends to on true renders, noised to a timestep of the middle of a trajectory."""
    import torch

    from evenhand.demo.training import data
    from evenhand.demo.training.denoiser import Recorder

    noised = noised_scenes(pipeline, count, seed)
    groups = [data.token_groups(pipeline.tokenizer, caption)[:-1] for caption in noised.captions]
    names = [name for name in pipeline.unet.attn_processors if ".attn2." in name]
    before = dict(pipeline.unet.attn_processors)
    recorders = {name: Recorder() for name in names}
    pipeline.unet.set_attn_processor(before | recorders)
    try:
        with torch.inference_mode():
            pipeline.unet(noised.at(pipeline, timestep), torch.tensor(timestep), noised.states)
    finally:
        pipeline.unet.set_attn_processor(before)
    return [_share(name, recorders[name].weights, groups, noised.masks) for name in names]


def covered(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Bool ``grid``: the patches that a thing's mask, bool (size, size), covers by more than half."""
    rows, columns = grid
    parts = mask.reshape(rows, mask.shape[0] // rows, columns, mask.shape[1] // columns)
    most: np.ndarray = parts.mean(axis=(1, 3)) > 0.5
    return most


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two bool arrays of one shape; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def _share(name: str, weights: Any, groups: list[list[list[int]]], masks: list[np.ndarray]) -> AttentionShare:
    array: np.ndarray = weights.numpy()  # (scenes, patches, tokens)
    side = int(array.shape[1] ** 0.5)
    chosen = array[:, :, 1:].argmax(axis=-1) + 1
    overlaps = []
    for tokens, things, mask in zip(chosen, groups, masks, strict=True):
        for group, truth in zip(things, mask, strict=True):
            overlaps.append(overlap(covered(truth, (side, side)), np.isin(tokens.reshape(side, side), group)))
    return AttentionShare(
        module=name.removesuffix(".processor").removesuffix(".transformer_blocks.0.attn2"),
        first=float(array[:, :, 0].mean()),
        chosen=float(np.take_along_axis(array, chosen[..., None], axis=-1).mean()),
        overlap=float(np.mean(overlaps)),
    )


def contact_sheet(pictures: Mapping[str, np.ndarray], count: int, scale: int = 2) -> np.ndarray:
    """One row an arm, one column a caption, uint8, enlarged by a whole number."""
    rows = [np.concatenate(list(images[:count]), axis=1) for images in pictures.values()]
    sheet: np.ndarray = ndimage.zoom(np.concatenate(rows, axis=0), (scale, scale, 1), order=0)
    return sheet
