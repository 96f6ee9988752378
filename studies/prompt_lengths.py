"""Say how long prompts are in the tokens of the checkpoints at hand, and which of them a checkpoint would cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.core.cache import cache

from evenhand.sampling.tokens import TokenCounter, load_counter
from evenhand.studies.configuration import ConfigurationError, StudyConfiguration
from evenhand.studies.model_roots import DEMO, ModelPlaceError, check_model
from evenhand.studies.models import PromptSet, StudyVersion

CUT_SHOWN = 5
STUDIES_LOOKED_AT = 50
CHUNK = 2000


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose tokenizer is at hand."""

    name: str
    counter: TokenCounter


@dataclass
class TokenLengths:
    """How long prompts are for one checkpoint, counted as they come."""

    checkpoint: str
    limit: int
    counts: Counter[int] = field(default_factory=Counter)  # tokens, start and end included → prompts
    first_cut: list[tuple[int, str]] = field(default_factory=list)  # index and text

    def add(self, texts: list[str], lengths: list[int]) -> None:
        """Count texts that follow those before."""
        start = self.counts.total()
        self.counts.update(lengths)
        for i, length in enumerate(lengths):
            if length > self.limit and len(self.first_cut) < CUT_SHOWN:
                self.first_cut.append((start + i, texts[i]))

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(self.counts, default=0)

    @property
    def mean(self) -> float:
        """Mean number of tokens."""
        return sum(length * n for length, n in self.counts.items()) / max(1, self.counts.total())

    @property
    def cut(self) -> int:
        """Number of prompts that the checkpoint would read only in part."""
        return sum(n for length, n in self.counts.items() if length > self.limit)


def checkpoints_at_hand() -> list[Checkpoint]:
    """Return the demo's checkpoint and those of the latest studies whose tokenizer lies on this machine."""
    names = [DEMO]
    versions = StudyVersion.objects.order_by("-pk").values_list("study__recipe__checkpoint", "configuration")
    for used, text in versions[:STUDIES_LOOKED_AT]:
        names.append(used or "")
        try:
            names.append(StudyConfiguration.from_json(text).checkpoint)
        except ConfigurationError:  # of a version that an older release has frozen
            continue
    found: list[Checkpoint] = []
    for name in filter(None, dict.fromkeys(names)):
        counter = counter_of(name)
        if counter is not None:
            found.append(Checkpoint(name, counter))
    return found


def counter_of(name: str) -> TokenCounter | None:
    """Return the token counter of a checkpoint: the demo's, a folder's, or one in the hub's local cache."""
    try:
        check_model(name)
    except ModelPlaceError:
        return None
    folder = Path(settings.DEMO_CHECKPOINT if name == DEMO else name)
    return load_counter(folder) or _cached(name)


def _cached(name: str) -> TokenCounter | None:
    try:
        from huggingface_hub import try_to_load_from_cache

        file = try_to_load_from_cache(name, "tokenizer/tokenizer_config.json")
    except (ImportError, ValueError):  # a name that is no hub id
        return None
    return load_counter(Path(file).parents[1]) if isinstance(file, str) else None


def count_tokens(texts: Iterable[list[str]], checkpoints: list[Checkpoint]) -> list[TokenLengths]:
    """Count the tokens of texts that come in lists, for each checkpoint."""
    found = [TokenLengths(each.name, each.counter.limit) for each in checkpoints]
    for chunk in texts:
        for lengths, checkpoint in zip(found, checkpoints, strict=True):
            lengths.add(chunk, checkpoint.counter.lengths(chunk))
    return found


def token_lengths(prompt_set: PromptSet) -> list[TokenLengths]:
    """Return the lengths of a set's prompts, which never change: each tokenizer counts them once."""
    found: list[TokenLengths] = []
    for checkpoint in checkpoints_at_hand():
        key = f"tokens:{prompt_set.sha256}:{checkpoint.counter.fingerprint}"
        lengths: TokenLengths | None = cache.get(key)
        if lengths is None:
            [lengths] = count_tokens(_chunks(prompt_set), [checkpoint])
            cache.set(key, lengths, timeout=None)
        lengths.checkpoint = checkpoint.name
        found.append(lengths)
    return found


def _chunks(prompt_set: PromptSet) -> Iterable[list[str]]:
    texts = prompt_set.prompts.order_by("index").values_list("text", flat=True)
    chunk: list[str] = []
    for text in texts.iterator(chunk_size=CHUNK):
        chunk.append(text)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
