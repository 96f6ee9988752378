"""Find and report words of a prompt that a small checkpoint was not trained on.

A checkpoint may list the words that it knows, one a line, in ``tokenizer/words.txt``. Stable Diffusion's tokenizer
knows parts of every word and has no such list. A model trained on a small grammar also accepts any text, but words
beyond its list have no meaning for it, so a warning names them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = "words.txt"
NAMED = 12  # words that one message names
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class UnknownWords(UserWarning):
    """Prompts use words that the checkpoint was not trained on; the message names them and the list of known words."""


def known_words(tokenizer_folder: str | Path) -> frozenset[str] | None:
    """Read the words that a checkpoint's tokenizer folder lists; None where it has no list and may know every word."""
    path = Path(tokenizer_folder) / FILE
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=8)
def _read(path: Path, _modification_time: int) -> frozenset[str]:
    return frozenset(path.read_text(encoding="utf-8").split())


def unknown_words(prompts: Iterable[str], vocabulary: frozenset[str]) -> dict[str, int]:
    """Count the prompts that use each word, in lower case, that is not in ``vocabulary``; the most frequent first."""
    counts: dict[str, int] = {}
    for prompt in prompts:
        for word in {word.lower() for word in _WORD.findall(prompt)} - vocabulary:
            counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def described(word_counts: dict[str, int]) -> str:
    """List unknown words in one line; of a long list, name the first and count the rest."""
    names = ", ".join(list(word_counts)[:NAMED])
    return names if len(word_counts) <= NAMED else f"{names} and {len(word_counts) - NAMED} more"


def warn_of_unknown_words(pipeline: Any, prompts: Sequence[str]) -> None:
    """Warn (UnknownWords) once, naming all words of the prompts that the pipeline's checkpoint does not list."""
    folder = pipeline.tokenizer.name_or_path
    vocabulary = known_words(folder)
    word_counts = unknown_words(prompts, vocabulary) if vocabulary is not None else {}
    if word_counts:
        names = described(word_counts)
        message = f"this checkpoint does not know: {names}. It knows the words in {Path(folder) / FILE}"
        warnings.warn(message, UnknownWords, stacklevel=4)
