"""From which address a request came: what is believed of a proxy's header, and that only hashes leave the module."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone

from evenhand.studies import addresses
from evenhand.studies.addresses import address_of, stand_in

NGINX, SOMEBODY, FORGED = (
    "172.18.0.5",
    "93.184.215.14",
    "192.0.43.8",
)  # public: Python calls those for documentation private


def request(remote: str = SOMEBODY, forwarded: str = "") -> HttpRequest:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    return RequestFactory().get("/", REMOTE_ADDR=remote, headers=headers)


@pytest.mark.parametrize(
    ("proxies", "remote", "forwarded", "address"),
    [
        (0, SOMEBODY, "", SOMEBODY),
        (0, SOMEBODY, FORGED, SOMEBODY),  # anybody can send the header
        (0, NGINX, SOMEBODY, None),  # a proxy that the installation does not know of
        (0, "127.0.0.1", "", "127.0.0.1"),
        (1, NGINX, SOMEBODY, SOMEBODY),
        (1, NGINX, f"{FORGED}, {SOMEBODY}", SOMEBODY),
        (1, NGINX, f"{SOMEBODY},172.18.0.1", None),  # two proxies, and one is told of
        (2, NGINX, f"{FORGED}, {SOMEBODY}, 172.18.0.1", SOMEBODY),
        (1, NGINX, "10.1.2.3", "10.1.2.3"),  # people of the same network as the server
        (1, "", SOMEBODY, SOMEBODY),  # a socket's peer has no address
        (0, "", "", None),
        (1, NGINX, "unknown", None),
        (0, "2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        (0, "::ffff:93.184.215.14", "", SOMEBODY),
    ],
)
def test_whose_word_is_taken(settings: object, proxies: int, remote: str, forwarded: str, address: str | None) -> None:
    settings.PROXIES = proxies  # type: ignore[attr-defined]
    assert address_of(request(remote, forwarded)) == address


def test_a_proxy_that_nobody_told_of_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    addresses._say_once.cache_clear()
    for _ in range(3):
        assert address_of(request(NGINX, SOMEBODY)) is None
    assert len([record for record in caplog.records if "EVENHAND_PROXIES" in record.getMessage()]) == 1


def test_hashes_stand_for_one_address_on_one_day(monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    day = datetime(2026, 11, 28, 12, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: day)
    first = stand_in(request())
    assert stand_in(request(FORGED)) != first == stand_in(request())
    monkeypatch.setattr(timezone, "now", lambda: day + timedelta(days=1))
    assert stand_in(request()) != first
    monkeypatch.setattr(timezone, "now", lambda: day)
    settings.SECRET_KEY = "another secret of at least 32 characters"  # type: ignore[attr-defined]
    assert stand_in(request()) != first


def test_what_stands_in_for_an_address_is_in_the_unique_local_range() -> None:
    first, second = stand_in(request()), stand_in(request(FORGED))
    assert first != second
    for text in (first, second, stand_in(request(""))):
        assert ipaddress.ip_address(text) in ipaddress.ip_network("fd00::/8")
