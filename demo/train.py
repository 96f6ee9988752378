"""Train the demo model from rendered scenes (``python -m evenhand.demo.train --work var/train``).

Stages: tokenizer; clip and then text, with autoencoder in parallel if wanted; then denoiser, pictures and decoder,
which do not depend on each other; then export. Each stage resumes from its saved state and logs to ``<stage>.jsonl``.

``--continue-from CHECKPOINT`` fills an empty work folder with an exported checkpoint's parts, so that another run of
the denoiser starts from its weights (with a fresh optimiser) instead of from random ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

STAGES = ("tokenizer", "clip", "text", "pictures", "autoencoder", "denoiser", "decoder", "export")
DEFAULT_STEPS = {"clip": 2000, "text": 3000, "pictures": 2000, "autoencoder": 4200, "denoiser": 6200, "decoder": 2600}
CHECKPOINT = Path(__file__).parent / "checkpoint"


def train_stage(name: str, work: Path, steps: int | None, output: Path) -> None:
    """Run one stage; its predecessors' results must be in ``work``."""
    from evenhand.demo.training import autoencoder, clip, denoiser, export, text, tokenizer
    from evenhand.demo.training.loop import Stage

    stage = Stage(work, name, steps or DEFAULT_STEPS.get(name, 0))
    if name == "tokenizer":
        tokenizer.train_tokenizer().save_pretrained(work / "tokenizer")
    elif name == "clip":
        clip.train_clip(tokenizer.load_tokenizer(work / "tokenizer"), stage).save_pretrained(work / "clip")
    elif name == "text":
        model, tokens = clip.load_clip(work / "clip"), tokenizer.load_tokenizer(work / "tokenizer")
        text.train_text(model, tokens, stage).save_pretrained(work / "clip_text")
    elif name == "pictures":
        model, tokens = clip.load_clip(work / "clip_text"), tokenizer.load_tokenizer(work / "tokenizer")
        clip.fit_pictures(model, tokens, stage).save_pretrained(work / "clip_fitted")
    elif name == "autoencoder":
        autoencoder.train_autoencoder(stage).save_pretrained(work / "vae")
    elif name == "denoiser":
        denoiser.train_denoiser(work, stage)
    elif name == "decoder":
        vae = autoencoder.load_autoencoder(work / "vae")
        autoencoder.tune_decoder(vae, stage).save_pretrained(work / "vae_tuned")
    else:
        export.export(work, output)


def continue_from(checkpoint: Path, work: Path) -> None:
    """Fill a work folder with the parts of an exported checkpoint; existing parts are not replaced."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTokenizer

    parts = {
        "tokenizer": (CLIPTokenizer, "tokenizer"),
        "clip_text": (CLIPModel, "clip"),
        "clip_fitted": (CLIPModel, "clip"),
        "vae": (AutoencoderKL, "vae"),
        "vae_tuned": (AutoencoderKL, "vae"),
        "unet_start": (UNet2DConditionModel, "unet"),
    }
    for target, (kind, source) in parts.items():
        if not (work / target).exists():
            options = {} if kind is CLIPTokenizer else {"dtype" if kind is CLIPModel else "torch_dtype": torch.float32}
            kind.from_pretrained(checkpoint / source, **options).save_pretrained(work / target)


def main() -> None:
    """Parse the command line and run the stages asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("var/train"), help="folder for states, logs and parts")
    parser.add_argument("--stage", choices=(*STAGES, "all"), default="all")
    parser.add_argument("--steps", type=int, default=None, help="steps of the stage named (default: the recipe's)")
    parser.add_argument("--threads", type=int, default=None, help="torch threads (default: torch's own choice)")
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    parser.add_argument("--continue-from", type=Path, metavar="CHECKPOINT")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.continue_from:
        continue_from(options.continue_from, options.work)
    for name in STAGES if options.stage == "all" else (options.stage,):
        train_stage(name, options.work, options.steps, options.output)


if __name__ == "__main__":
    main()
