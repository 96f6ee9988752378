"""Compute keyed hashes under the server's secret, and know those that were made under its older ones.

New hashes are made with the newest secret, ``SECRET_KEY``; those of ``SECRET_KEY_FALLBACKS`` are still known, until the
secret is taken from that list.
"""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings


def keyed_hash(message: str) -> str:
    """Return the HMAC-SHA-256 (64 hex digits) of a message under the newest secret."""
    return _hash(settings.SECRET_KEY, message)


def known_hashes(message: str) -> list[str]:
    """Return the HMACs of a message under all secrets, the newest first."""
    return [_hash(key, message) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def is_known(message: str, signature: str, length: int) -> bool:
    """Whether a text is the first ``length`` hex digits of a message's HMAC under any secret, in constant time."""
    matches = [hmac.compare_digest(known[:length].encode(), signature.encode()) for known in known_hashes(message)]
    return any(matches)


def _hash(key: str, message: str) -> str:
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()
