"""Count the tokens of prompts by a checkpoint's tokenizers, without torch.

``tokenizer.json`` is read as it is. Older checkpoints of Stable Diffusion have ``vocab.json`` and ``merges.txt`` alone:
from those CLIP's tokenizer is built as transformers builds it. Stable Diffusion XL has two tokenizers, which read
exclamation marks differently.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_FILES = ("tokenizer.json", "vocab.json", "merges.txt")
_CONFIG, _SPECIAL = "tokenizer_config.json", "special_tokens_map.json"
FILE_LIMIT = 64_000_000  # bytes of a tokenizer's file
LENGTH_LIMIT = 100_000  # tokens; above, a configuration means “no limit”
_CLIP_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
FOLDERS = ("tokenizer", "tokenizer_2")
_START, _END = "<|startoftext|>", "<|endoftext|>"


class TokenCounter:
    """Tokenizers with their limit: how many tokens, start and end of the text included, a model reads of a prompt."""

    def __init__(self, tokenizers: Sequence[Tokenizer], limit: int, fingerprint: str) -> None:
        self._tokenizers = tokenizers
        self.limit = limit
        self.fingerprint = fingerprint  # SHA-256 of its files, 64 hex digits

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, start and end included; of several tokenizers the most."""
        counts = [[len(each.ids) for each in one.encode_batch(list(texts))] for one in self._tokenizers]
        return [max(numbers) for numbers in zip(*counts, strict=True)]

    def cut(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each text is longer than the limit."""
        return [length > self.limit for length in self.lengths(texts)]


def cut_by_any(texts: Sequence[str], counters: Sequence[TokenCounter]) -> list[bool]:
    """Return whether one of the tokenizers would cut each text."""
    verdicts = [counter.cut(texts) for counter in counters]
    return [any(verdict[i] for verdict in verdicts) for i in range(len(texts))]


def load_counter(checkpoint: Path) -> TokenCounter | None:
    """Return the counter of a checkpoint's folder (diffusers' layout); None where it has no tokenizer of its own kind.

    None too where the package ``tokenizers`` is not installed.
    """
    folders = [checkpoint / name for name in FOLDERS if (checkpoint / name).is_dir()]
    files = [path for folder in folders for name in (*_FILES, _SPECIAL) if (path := folder / name).is_file()]
    files += [path for path in (*(each / _CONFIG for each in folders), _text_encoder(checkpoint)) if path.is_file()]
    try:
        if not files or any(path.stat().st_size > FILE_LIMIT for path in files):
            return None
        return _load(checkpoint, tuple(folders), tuple((path, path.stat().st_mtime_ns) for path in files))
    except (OSError, ImportError):
        return None


def _text_encoder(checkpoint: Path) -> Path:
    return checkpoint / "text_encoder" / "config.json"


@lru_cache(maxsize=8)
def _load(checkpoint: Path, folders: tuple[Path, ...], files: tuple[tuple[Path, int], ...]) -> TokenCounter | None:
    limit = _limit(checkpoint)
    digest = hashlib.sha256()
    for path, _ in files:
        digest.update(path.read_bytes())
    try:
        tokenizers = [tokenizer for folder in folders if (tokenizer := _tokenizer(folder)) is not None]
    except (OSError, ImportError):
        raise
    except Exception:  # the package raises bare exceptions for a file that is no tokenizer
        return None
    if not tokenizers or len(tokenizers) < len(folders) or limit is None:
        return None
    for tokenizer in tokenizers:
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return TokenCounter(tokenizers, limit, digest.hexdigest())


def _tokenizer(folder: Path) -> Tokenizer | None:
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _clip_tokenizer(folder)
    return None


def _clip_tokenizer(folder: Path) -> Tokenizer:
    """Build CLIP's byte-pair encoder from its two files (Radford et al. 2021, as transformers' ``CLIPTokenizer``)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    merges = [(parts[0], parts[1]) for line in lines if len(parts := line.split()) == 2 and not line.startswith("#v")]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", fuse_unk=False, unk_token=_END)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (_END, vocabulary[_END]), (_START, vocabulary[_START]), trim_offsets=False, add_prefix_space=False
    )
    padding = _padding(folder)
    if padding in vocabulary:
        tokenizer.add_special_tokens([padding])
    return tokenizer


def _padding(folder: Path) -> str | None:
    """Return the token that fills up, which is then read as a token wherever a text has it.

    As transformers finds it: in the older file of special tokens, if the configuration does not list its added tokens.
    """
    config, special = (_object(folder / name) for name in (_CONFIG, _SPECIAL))
    value = config.get("pad_token")
    if "added_tokens_decoder" not in config:
        value = special.get("pad_token", value)
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _object(path: Path) -> dict[str, Any]:
    content: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def _limit(checkpoint: Path) -> int | None:
    """Return the tokenizer's limit, or the text encoder's number of positions; None where neither says one."""
    for path, name in (
        (checkpoint / "tokenizer" / _CONFIG, "model_max_length"),
        (_text_encoder(checkpoint), "max_position_embeddings"),
    ):
        try:
            value: Any = json.loads(path.read_text(encoding="utf-8")).get(name)
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if isinstance(value, int) and 2 < value <= LENGTH_LIMIT:
            return value
    return None
