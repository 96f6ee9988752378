"""A study's page as a browser shows it: with the chapters that it fetches apart."""

from __future__ import annotations

import re
from html import unescape

from django.test import Client
from django.urls import reverse

from evenhand.studies.models import Study

PART = re.compile(r'<div hx-get="([^"]+/parts/[^"]+)"[^>]*>.*?</div>', re.DOTALL)


def study_page(client: Client, study: Study, query: str = "") -> str:
    """Return the page with each part in its place."""
    page = client.get(reverse("console:study", args=[study.pk]) + query).content.decode()

    def fetched(match: re.Match[str]) -> str:
        response = client.get(unescape(match[1]), headers={"HX-Request": "true"})
        assert response.status_code == 200, match[1]
        return response.content.decode()

    return PART.sub(fetched, page)
