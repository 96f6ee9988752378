"""Tell from which address a request came, as a keyed hash of the day: no address is stored.

Behind proxies the sender's address is what the outermost trusted one wrote into ``X-Forwarded-For``; how many proxies
there are is ``EVENHAND_PROXIES``. Without it the header is not believed, because anybody can send one.
"""

from __future__ import annotations

import ipaddress
import logging
from functools import cache

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from evenhand.studies.keys import keyed_hash

log = logging.getLogger(__name__)
UNIQUE_LOCAL = 0xFD << 120  # fd00::/8: addresses that no network outside of an organisation routes
PREFIX = 64  # bits of an IPv6 address that name a network; one host has all the addresses behind them


def address_of(request: HttpRequest) -> str | None:
    """Return the sender's address, of IPv6 the network alone; None where it cannot be told.

    It cannot where a proxy stands between that the installation does not know of: a private address hands on others.
    """
    chain = [*_forwarded(request), request.META.get("REMOTE_ADDR", "")]
    place = max(0, len(chain) - 1 - settings.PROXIES)
    try:
        address = ipaddress.ip_address(chain[place].strip())
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if place and (address.is_private or address.is_loopback):
        _say_once()
        return None
    if address.version == 6:
        return str(ipaddress.ip_network((address, PREFIX), strict=False))
    return str(address)


def hashed_address(request: HttpRequest) -> str | None:
    """Return 64 hex digits that stand for the sender's address on this day (UTC); None where it cannot be told."""
    address = address_of(request)
    return None if address is None else _hash(address)


def stand_in(request: HttpRequest) -> str:
    """Return an IPv6 address that stands for the sender's on this day; it is a hash, and nobody's address.

    django-axes stores whatever it is given in a column for addresses, so that the hash's first 120 bits go into the
    range of unique local addresses. All senders whose address cannot be told share one.
    """
    digest = _hash(address_of(request) or "unknown")
    return str(ipaddress.IPv6Address(UNIQUE_LOCAL | int(digest[:30], 16)))


def _hash(address: str) -> str:
    return keyed_hash(f"address:{timezone.now().date()}:{address}")


def _forwarded(request: HttpRequest) -> list[str]:
    header = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return header.split(",") if header else []


@cache
def _say_once() -> None:
    log.warning("a proxy hands on requests that the installation does not know of: set EVENHAND_PROXIES")
