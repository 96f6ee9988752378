"""The denoiser: a small UNet2DConditionModel on 16×16×4 latents, noise-prediction with min-SNR weights and an EMA.

Two auxiliary losses shape its cross-attention as Stable Diffusion's is: where a thing stands, the tokens that name it
take the attention that the begin-of-sentence token leaves over (grounding, from the true masks), and that first token
takes most of it (the sink). Segmentation-free guidance reads exactly this map.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from transformers import CLIPModel, CLIPTokenizer

from evenhand.demo import scenes
from evenhand.demo.training import data
from evenhand.demo.training.autoencoder import CHANNELS
from evenhand.demo.training.loop import Stage, run
from evenhand.demo.training.tokenizer import load_tokenizer

GRID, CELLS = 16, 8  # side of the latents, and of the finest cross-attention map
POOL = 60_000  # scenes whose latents are computed once; their captions are worded anew at every visit
DROPOUT = 0.1  # share of captions replaced by the empty one
SNR_CAP, SNR_FLOOR = 5.0, 0.05
GROUNDING, SINK, SINK_TARGET = 0.04, 0.2, 0.88
NAMED_TARGET = 0.5  # share of what the sink leaves that the naming tokens should have; the rest stays spread
EMA_DECAY = 0.999
TONE, TONE_SNR = 0.2, 0.02
HIGH_NOISE = 0.3  # share of timesteps drawn from where text alone decides the ground and the layout


def new_denoiser() -> UNet2DConditionModel:
    """A randomly initialised UNet with cross-attention at 8×8 and 4×4."""
    return UNet2DConditionModel(
        sample_size=GRID,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(48, 112, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,  # the number of heads: diffusers' historic name
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's scaled-linear schedule with more noise at its end.

    With Stable Diffusion's own end (beta 0.012) the latent's mean still shows through the noise that training sees, and
    not through the noise that sampling begins with: the ground's colour then came from the noise and not from the text.
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        timestep_spacing="leading",
    )


class Recorder:
    """An attention processor that keeps the head-mean cross-attention weights, (B, patches, tokens)."""

    def __init__(self) -> None:
        self.weights: torch.Tensor | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,  # noqa: ARG002  (diffusers hands it over)
    ) -> torch.Tensor:
        """Plain softmax attention, written out so that its weights can be read."""
        query = attn.head_to_batch_dim(attn.to_q(hidden_states), out_dim=4)
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states), out_dim=4)
        value = attn.head_to_batch_dim(attn.to_v(encoder_hidden_states), out_dim=4)
        weights = (query @ key.transpose(-1, -2) * attn.scale).softmax(dim=-1)
        self.weights = weights.mean(dim=1)
        merged = (weights @ value).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](merged))


def record_cross_attention(unet: UNet2DConditionModel) -> list[Recorder]:
    """Put a recorder on every cross-attention module."""
    processors = dict(unet.attn_processors)
    recorders = {name: Recorder() for name in processors if ".attn2." in name}
    unet.set_attn_processor(processors | recorders)
    return list(recorders.values())


def attention_losses(
    recorders: list[Recorder], tokens: torch.Tensor, coverage: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    """Grounding and sink losses over all recorded modules.

    tokens: float (B, K, 77), 1 where a token names thing k (or the ground); coverage: float (B, K, 8, 8), the share of
    each patch that thing k covers; weight: float (B,), 0 for empty captions, and small where all is noise.
    """
    grounding, sink, share = [], [], []
    for recorder in recorders:
        attention = recorder.weights
        assert attention is not None
        side = int(attention.shape[1] ** 0.5)
        area = F.adaptive_avg_pool2d(coverage, side).flatten(2)  # (B, K, P)
        named = torch.einsum("bpt,bkt->bkp", attention, tokens)
        first = attention[:, :, 0]
        miss = F.relu(-torch.log(named / (1.0 - first + 1e-4)[:, None] / NAMED_TARGET + 1e-3))
        grounding.append(((miss * area).sum(dim=(1, 2)) / area.sum(dim=(1, 2)) * weight).mean())
        sink.append((F.relu(SINK_TARGET - first).mean(dim=1) * (weight > 0)).mean())
        share.append(float(first.mean()))
    return torch.stack(grounding).mean(), torch.stack(sink).mean(), {"bos": float(np.mean(share))}


def pool_scene(index: int) -> scenes.Scene:
    """Scene ``index`` of the pool; scenes of several things are harder, so there are more of them than usual."""
    rng = np.random.default_rng([104, index])
    return scenes.sample_scene(rng, things=int(rng.choice((1, 2, 3), p=(0.2, 0.5, 0.3))))


@torch.no_grad()
def build_pool(vae: AutoencoderKL, folder: Path, count: int = POOL) -> tuple[np.ndarray, np.ndarray]:
    """Latents, float16 (count, 4, 16, 16), and coverage of three things and the ground, float16 (count, 4, 8, 8)."""
    latents_path, coverage_path = folder / "pool_latents.npy", folder / "pool_coverage.npy"
    if not coverage_path.exists():
        latents = np.zeros((count, CHANNELS, GRID, GRID), np.float16)
        coverage = np.zeros((count, 4, CELLS, CELLS), np.float16)
        for start in range(0, count, 64):
            drawn = [scenes.render(pool_scene(i), data.SIZE) for i in range(start, min(count, start + 64))]
            stop = start + len(drawn)
            latents[start:stop] = vae.encode(data.to_tensor([p for p, _ in drawn])).latent_dist.mean.numpy()
            for i, (_, masks) in enumerate(drawn, start):
                cells = masks.reshape(len(masks), CELLS, data.SIZE // CELLS, CELLS, -1).mean(axis=(2, 4))
                coverage[i, : len(masks)] = cells
                coverage[i, 3] = 1.0 - cells.sum(axis=0)
        np.save(latents_path, latents)
        np.save(coverage_path, coverage)
    return np.load(latents_path), np.load(coverage_path)


class Batches:
    """Batches of (latents, token ids, named tokens, coverage) drawn from (seed, step)."""

    def __init__(self, tokenizer: CLIPTokenizer, latents: np.ndarray, coverage: np.ndarray, batch: int) -> None:
        self.tokenizer, self.latents, self.coverage, self.batch = tokenizer, latents, coverage, batch

    def draw(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents (B, 4, 16, 16), ids (B, 77), names (B, 4, 77) — all zero for an empty caption —, coverage."""
        rng = data.step_rng(105, step)
        chosen = rng.integers(len(self.latents), size=self.batch)
        texts = [scenes.describe(pool_scene(int(i)).description, rng) for i in chosen]
        names = torch.zeros(self.batch, 4, 77)
        for row, text in enumerate(texts):
            if rng.random() < DROPOUT:
                texts[row] = ""
                continue
            *things, ground = data.token_groups(self.tokenizer, text)
            for k, group in [*enumerate(things), (3, ground)]:
                names[row, k, group] = 1.0
        ids = data.tokenize(self.tokenizer, texts)
        pick = lambda array: torch.from_numpy(array[chosen].astype(np.float32))  # noqa: E731
        return pick(self.latents), ids, names, pick(self.coverage)


def tone_loss(error: torch.Tensor, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Squared error of the predicted picture's mean over all positions, where the noise is high.

    error: of the predicted noise, (B, 4, 16, 16); alphas_cumprod: (B,) of its timesteps. The mean is the ground's
    colour above all. In the noise it is so small an error that it took no part in the learning, and in the noisy latent
    it shows through, which sampling from pure noise does not offer.
    """
    snr = alphas_cumprod / (1.0 - alphas_cumprod)
    mean = error.mean(dim=(2, 3)).pow(2).mean(dim=1) / snr
    return (mean * (snr < TONE_SNR)).mean()


def draw_timesteps(generator: torch.Generator, count: int, timesteps: int) -> torch.Tensor:
    """Uniform timesteps, but for the share ``HIGH_NOISE`` that is drawn from the last fifth alone."""
    t = torch.randint(0, timesteps, (count,), generator=generator)
    high = torch.randint(timesteps * 4 // 5, timesteps, (count,), generator=generator)
    return torch.where(torch.rand(count, generator=generator) < HIGH_NOISE, high, t)


def noise_weight(alphas_cumprod: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """About min(SNR, 5) / SNR for noise prediction (Hang et al. 2023, eq. 8), raised up to a hundredfold at small SNR.

    The ground's colour, how many things there are and where are decided at the highest noise, where an error of the
    picture hardly shows in the predicted noise: it is the picture's times the root of the SNR.
    """
    snr = alphas_cumprod[t] / (1.0 - alphas_cumprod[t])
    return (snr.clamp(max=SNR_CAP) + SNR_FLOOR) / (snr + SNR_FLOOR / 100)


def train_denoiser(work: Path, stage: Stage, *, batch: int = 32, learning_rate: float = 8e-4) -> UNet2DConditionModel:
    """Train on the pool; saves the exponential moving average to ``work/unet``."""
    torch.manual_seed(13)
    tokenizer = load_tokenizer(work / "tokenizer")
    text_model = CLIPModel.from_pretrained(work / "clip_text").text_model.eval().requires_grad_(False)
    vae = AutoencoderKL.from_pretrained(work / "vae").eval()
    batches = Batches(tokenizer, *build_pool(vae, work), batch)
    start = work / "unet_start"
    unet = UNet2DConditionModel.from_pretrained(start) if start.exists() else new_denoiser()
    unet.train()
    recorders = record_cross_attention(unet)
    average = copy.deepcopy(unet).requires_grad_(False)
    alphas_cumprod = new_scheduler().alphas_cumprod
    optimizer = torch.optim.AdamW(unet.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.99))

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        latents, ids, names, coverage = batches.draw(step)
        with torch.no_grad():
            states = text_model(input_ids=ids).last_hidden_state
        generator = torch.Generator().manual_seed(1_000_003 * 7 + step)
        t = draw_timesteps(generator, batch, len(alphas_cumprod))
        noise = torch.randn(latents.shape, generator=generator)
        signal = alphas_cumprod[t].view(-1, 1, 1, 1)
        predicted = unet(signal.sqrt() * latents + (1 - signal).sqrt() * noise, t, states).sample
        errors = (predicted - noise).pow(2).mean(dim=(1, 2, 3))
        denoising = (errors * noise_weight(alphas_cumprod, t)).mean()
        weight = alphas_cumprod[t].sqrt() * names.any(dim=2).any(dim=1)
        grounding, sink, seen = attention_losses(recorders, names, coverage, weight)
        tone = tone_loss(predicted - noise, alphas_cumprod[t])
        loss = denoising + GROUNDING * grounding + SINK * sink + TONE * tone
        parts = {
            "denoising": float(denoising.detach()),
            "grounding": float(grounding.detach()),
            "tone": float(tone.detach()),
        }
        return loss, {**parts, "mse": float(errors.detach().mean()), **seen}

    @torch.no_grad()
    def follow(step: int) -> None:
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        for slow, fast in zip(average.parameters(), unet.parameters(), strict=True):
            slow.lerp_(fast, 1.0 - decay)

    run(stage, {"unet": unet, "average": average}, optimizer, learning_rate, step_loss, after_step=follow)
    average.save_pretrained(work / "unet")
    return average
