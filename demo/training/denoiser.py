"""Train the denoiser: a small UNet2DConditionModel on 16×16×4 latents with min-SNR weights and an EMA.

It predicts noise. Two auxiliary losses make its cross-attention similar to Stable Diffusion's, because
segmentation-free guidance reads this map: the begin-of-sentence token takes most of the attention (sink), and within a
thing's true mask the tokens that name the thing take the rest (grounding).
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
POOL = 60_000  # scenes whose latents are computed once; a caption is drawn at every use
DROPOUT = 0.1  # share of captions replaced by the empty one
SNR_CAP, SNR_FLOOR = 5.0, 0.05
GROUNDING, SINK, SINK_TARGET = 0.04, 0.2, 0.88
NAMED_TARGET = 0.5  # share of the remaining attention that the naming tokens should have
EMA_DECAY = 0.999
TONE, TONE_SNR = 0.2, 0.02
HIGH_NOISE = 0.3  # share of timesteps from the range in which text alone decides ground and layout


def new_denoiser() -> UNet2DConditionModel:
    """Create a randomly initialised UNet with cross-attention at 8×8 and 4×4."""
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
    """Create Stable Diffusion's scaled-linear schedule with more noise at its end.

    With Stable Diffusion's own end (beta 0.012) the noisiest training latents still contain the picture's mean, but the
    pure noise at the start of sampling does not. The ground's colour then followed the noise instead of the text.
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
        attention_mask: torch.Tensor | None = None,  # noqa: ARG002  (part of diffusers' interface)
    ) -> torch.Tensor:
        """Compute plain softmax attention explicitly, so that its weights can be recorded."""
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
    """Compute grounding and sink losses over all recorded modules.

    tokens: float (B, K, 77), 1 where a token names thing k (or the ground); coverage: float (B, K, 8, 8), the share of
    each patch that thing k covers; weight: float (B,), 0 for empty captions, and small at high noise.
    """
    grounding_losses, sink_losses, first_shares = [], [], []
    for recorder in recorders:
        attention = recorder.weights
        assert attention is not None
        side = int(attention.shape[1] ** 0.5)
        area = F.adaptive_avg_pool2d(coverage, side).flatten(2)  # (B, K, P)
        named_attention = torch.einsum("bpt,bkt->bkp", attention, tokens)
        first = attention[:, :, 0]
        shortfall = F.relu(-torch.log(named_attention / (1.0 - first + 1e-4)[:, None] / NAMED_TARGET + 1e-3))
        grounding_losses.append(((shortfall * area).sum(dim=(1, 2)) / area.sum(dim=(1, 2)) * weight).mean())
        sink_losses.append((F.relu(SINK_TARGET - first).mean(dim=1) * (weight > 0)).mean())
        first_shares.append(float(first.mean()))
    return torch.stack(grounding_losses).mean(), torch.stack(sink_losses).mean(), {"bos": float(np.mean(first_shares))}


def pool_scene(index: int) -> scenes.Scene:
    """Draw scene ``index`` of the pool, which has more scenes of several things because they are harder."""
    rng = np.random.default_rng([104, index])
    return scenes.sample_scene(rng, things=int(rng.choice((1, 2, 3), p=(0.2, 0.5, 0.3))))


@torch.no_grad()
def build_pool(vae: AutoencoderKL, folder: Path, count: int = POOL) -> tuple[np.ndarray, np.ndarray]:
    """Compute latents, float16 (count, 4, 16, 16), and coverage of things and ground, float16 (count, 4, 8, 8)."""
    latents_path, coverage_path = folder / "pool_latents.npy", folder / "pool_coverage.npy"
    if not coverage_path.exists():
        latents = np.zeros((count, CHANNELS, GRID, GRID), np.float16)
        coverage = np.zeros((count, 4, CELLS, CELLS), np.float16)
        for start in range(0, count, 64):
            renders = [scenes.render(pool_scene(i), data.SIZE) for i in range(start, min(count, start + 64))]
            stop = start + len(renders)
            latents[start:stop] = vae.encode(data.to_tensor([p for p, _ in renders])).latent_dist.mean.numpy()
            for i, (_, masks) in enumerate(renders, start):
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
        """Draw latents (B, 4, 16, 16), ids (B, 77), names (B, 4, 77; zero for an empty caption) and coverage."""
        rng = data.step_rng(105, step)
        scene_indices = rng.integers(len(self.latents), size=self.batch)
        texts = [scenes.describe(pool_scene(int(i)).description, rng) for i in scene_indices]
        names = torch.zeros(self.batch, 4, 77)
        for row, text in enumerate(texts):
            if rng.random() < DROPOUT:
                texts[row] = ""
                continue
            *things, ground = data.token_groups(self.tokenizer, text)
            for k, group in [*enumerate(things), (3, ground)]:
                names[row, k, group] = 1.0
        ids = data.tokenize(self.tokenizer, texts)
        select = lambda array: torch.from_numpy(array[scene_indices].astype(np.float32))  # noqa: E731
        return select(self.latents), ids, names, select(self.coverage)


def tone_loss(error: torch.Tensor, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Compute the squared error of the predicted picture's mean over all positions at high noise.

    error: of the predicted noise, (B, 4, 16, 16); alphas_cumprod: (B,) of its timesteps. The mean is mostly
    the ground's colour. Its error in the predicted noise is too small to be learned, and training latents still contain
    the mean, which the pure noise at the start of sampling does not.
    """
    snr = alphas_cumprod / (1.0 - alphas_cumprod)
    mean = error.mean(dim=(2, 3)).pow(2).mean(dim=1) / snr
    return (mean * (snr < TONE_SNR)).mean()


def draw_timesteps(generator: torch.Generator, count: int, timesteps: int) -> torch.Tensor:
    """Draw uniform timesteps, except for the share ``HIGH_NOISE`` from the last fifth."""
    t = torch.randint(0, timesteps, (count,), generator=generator)
    high_noise_timesteps = torch.randint(timesteps * 4 // 5, timesteps, (count,), generator=generator)
    return torch.where(torch.rand(count, generator=generator) < HIGH_NOISE, high_noise_timesteps, t)


def noise_weight(alphas_cumprod: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Compute about min(SNR, 5) / SNR for noise prediction (Hang et al. 2023, eq. 8), raised at small SNR.

    The weight rises up to a hundredfold, because the ground's colour and the number and places of things are decided at
    the highest noise, where the predicted noise contains an error of the picture only times the root of the SNR.
    """
    snr = alphas_cumprod[t] / (1.0 - alphas_cumprod[t])
    return (snr.clamp(max=SNR_CAP) + SNR_FLOOR) / (snr + SNR_FLOOR / 100)


def train_denoiser(work: Path, stage: Stage, *, batch: int = 32, learning_rate: float = 8e-4) -> UNet2DConditionModel:
    """Train on the pool; save the exponential moving average to ``work/unet``."""
    torch.manual_seed(13)
    tokenizer = load_tokenizer(work / "tokenizer")
    text_model = CLIPModel.from_pretrained(work / "clip_text")  # nosec B615  # a folder of the training
    text_model = text_model.text_model.eval().requires_grad_(False)
    vae = AutoencoderKL.from_pretrained(work / "vae").eval()
    batches = Batches(tokenizer, *build_pool(vae, work), batch)
    start_folder = work / "unet_start"
    unet = UNet2DConditionModel.from_pretrained(start_folder) if start_folder.exists() else new_denoiser()
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
        prediction = unet(signal.sqrt() * latents + (1 - signal).sqrt() * noise, t, states).sample
        errors = (prediction - noise).pow(2).mean(dim=(1, 2, 3))
        denoising = (errors * noise_weight(alphas_cumprod, t)).mean()
        weight = alphas_cumprod[t].sqrt() * names.any(dim=2).any(dim=1)
        grounding, sink, statistics = attention_losses(recorders, names, coverage, weight)
        tone = tone_loss(prediction - noise, alphas_cumprod[t])
        loss = denoising + GROUNDING * grounding + SINK * sink + TONE * tone
        parts = {
            "denoising": float(denoising.detach()),
            "grounding": float(grounding.detach()),
            "tone": float(tone.detach()),
        }
        return loss, {**parts, "mse": float(errors.detach().mean()), **statistics}

    @torch.no_grad()
    def update_average(step: int) -> None:
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        for average_value, value in zip(average.parameters(), unet.parameters(), strict=True):
            average_value.lerp_(value, 1.0 - decay)

    run(stage, {"unet": unet, "average": average}, optimizer, learning_rate, step_loss, after_step=update_average)
    average.save_pretrained(work / "unet")
    return average
