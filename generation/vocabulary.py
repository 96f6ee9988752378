"""Words that a small checkpoint knows. A checkpoint may list them, one a line, in ``tokenizer/words.txt``.

Stable Diffusion's tokenizer knows parts of every word, and has no such list; a model trained on a small grammar takes
any text too, but other words mean nothing to it. Whoever uses them is told.
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
    """Prompts use words that the checkpoint was not trained on; the message names them and where the known ones are."""


def known_words(tokenizer_folder: str | Path) -> frozenset[str] | None:
    """The words that a checkpoint's tokenizer folder lists; none where it has no list: then every word may be known."""
    path = Path(tokenizer_folder) / FILE
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=8)
def _read(path: Path, _changed_at: int) -> frozenset[str]:
    return frozenset(path.read_text(encoding="utf-8").split())


def unknown_words(prompts: Iterable[str], known: frozenset[str]) -> dict[str, int]:
    """Words that are not known, in lower case, with how many prompts use them; the most frequent first."""
    counts: dict[str, int] = {}
    for prompt in prompts:
        for word in {word.lower() for word in _WORD.findall(prompt)} - known:
            counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def described(unknown: dict[str, int]) -> str:
    """Unknown words in one line, the rest of a long list counted."""
    named = ", ".join(list(unknown)[:NAMED])
    return named if len(unknown) <= NAMED else f"{named} and {len(unknown) - NAMED} more"


def warn_of_unknown_words(pipeline: Any, prompts: Sequence[str]) -> None:
    """Warn (UnknownWords) once, naming all words of the prompts that the pipeline's checkpoint does not list."""
    folder = pipeline.tokenizer.name_or_path
    known = known_words(folder)
    unknown = unknown_words(prompts, known) if known is not None else {}
    if unknown:
        message = f"this checkpoint does not know: {described(unknown)}. It knows the words in {Path(folder) / FILE}"
        warnings.warn(message, UnknownWords, stacklevel=4)
