"""Prompts that a tiny model's tokenizer, which knows single letters, reads whole."""

from __future__ import annotations

from evenhand.sampling.prompts import prompts_sha256
from evenhand.studies.models import Study

WORDS = [f"a {colour} {thing}" for colour in ("red", "blue", "green") for thing in ("circle", "square", "star", "cat")]


def shorten_prompts(study: Study) -> None:
    """Give the study's prompt set short texts, all different, and their hash."""
    texts = [f"{WORDS[i % 12]} and {WORDS[i // 12]}" for i in range(study.prompt_set.count)]
    for prompt, text in zip(study.prompt_set.prompts.order_by("index"), texts, strict=True):
        prompt.text = text
        prompt.save()
    study.prompt_set.sha256 = prompts_sha256(texts)
    study.prompt_set.save()
