"""Captions of many lengths, and a reader of them by place, as the cache of features asks for them."""

from __future__ import annotations

COUNT = 47
TEXTS = [f"a dog and {i} cats on {'a very ' * (i % 5)}large bench" for i in range(COUNT)]


def texts_of(start: int, stop: int) -> list[str]:
    return TEXTS[start:stop]
