"""Train the autoencoder: 64×64 pictures to 16×16 latents of 4 channels, each of unit spread."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from evenhand.demo.training import data
from evenhand.demo.training.loop import Stage, run

CHANNELS = 4


def new_autoencoder() -> AutoencoderKL:
    """Create a randomly initialised AutoencoderKL, downscaling by 4."""
    blocks = (16, 32, 64)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(blocks),
        up_block_types=("UpDecoderBlock2D",) * len(blocks),
        block_out_channels=blocks,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=data.SIZE,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """Load the autoencoder saved in ``folder``."""
    model: AutoencoderKL = AutoencoderKL.from_pretrained(folder)
    return model.eval()


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Add absolute and squared error and the absolute error of the first differences (edges)."""
    edges = F.l1_loss(output.diff(dim=-1), target.diff(dim=-1)) + F.l1_loss(output.diff(dim=-2), target.diff(dim=-2))
    return F.l1_loss(output, target) + 2.0 * F.mse_loss(output, target) + 0.5 * edges


def train_autoencoder(stage: Stage, *, batch: int = 4, learning_rate: float = 1.2e-3) -> AutoencoderKL:
    """Train, then fold the latent channels' mean and spread into the 1×1 convolutions around the latent."""
    torch.manual_seed(12)
    model = new_autoencoder().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4, betas=(0.9, 0.99))

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        pictures, _ = data.rendered_batch(data.step_rng(102, step), batch)
        posterior = model.encode(pictures).latent_dist
        latent = posterior.mean + 0.02 * posterior.mean.detach().std() * torch.randn_like(posterior.mean)
        output = model.decode(latent).sample
        loss = reconstruction_loss(output, pictures)
        spread = 1e-4 * posterior.mean.pow(2).mean()
        error = F.mse_loss(output.detach().clamp(-1, 1), pictures)
        return loss + spread, {"psnr": float(10 * torch.log10(4 / error))}

    run(stage, {"vae": model}, optimizer, learning_rate, step_loss)
    # The posterior's variance is not trained, and samples would be noise: it is set to almost zero.
    normalise_latents(model)
    return model.eval()


def tune_decoder(model: AutoencoderKL, stage: Stage, *, batch: int = 8, learning_rate: float = 6e-4) -> AutoencoderKL:
    """Train the decoder alone, on latents with a little noise, like the denoiser's; the encoder is unchanged."""
    torch.manual_seed(14)
    model.requires_grad_(False)
    decoding = torch.nn.ModuleList([model.decoder, model.post_quant_conv]).requires_grad_(True).train()
    optimizer = torch.optim.AdamW(decoding.parameters(), lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.99))

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        pictures, _ = data.rendered_batch(data.step_rng(106, step), batch)
        with torch.no_grad():
            latent = model.encode(pictures).latent_dist.mean
        output = model.decode(latent + 0.03 * torch.randn_like(latent)).sample
        error = F.mse_loss(output.detach().clamp(-1, 1), pictures)
        return reconstruction_loss(output, pictures), {"psnr": float(10 * torch.log10(4 / error))}

    run(stage, {"decoding": decoding}, optimizer, learning_rate, step_loss)
    return model.eval()


@torch.no_grad()
def normalise_latents(model: AutoencoderKL, pictures: int = 512) -> None:
    """Fold each latent channel's mean and standard deviation over rendered scenes into the quantising convolutions."""
    model.eval()
    sample, _ = data.rendered_batch(data.step_rng(103, 0), pictures)
    means = torch.cat([model.encode(part).latent_dist.mean for part in sample.split(64)])
    mean, spread = means.mean(dim=(0, 2, 3)), means.std(dim=(0, 2, 3))
    encoder_convolution, decoder_convolution = model.quant_conv, model.post_quant_conv
    decoder_convolution.bias.add_((decoder_convolution.weight[:, :, 0, 0] * mean).sum(dim=1))
    decoder_convolution.weight.mul_(spread[None, :, None, None])
    encoder_convolution.weight[:CHANNELS].div_(spread[:, None, None, None])
    encoder_convolution.bias[:CHANNELS].sub_(mean).div_(spread)
    encoder_convolution.weight[CHANNELS:].zero_()
    encoder_convolution.bias[CHANNELS:].fill_(-12.0)
