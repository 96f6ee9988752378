"""Bring a prompt file into the console as an admin does: upload, preview, import."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse


def preview_of(console: Client, content: bytes, file_name: str = "captions.csv", **choices: Any) -> Any:
    """Upload a file and return the response of its preview under these choices."""
    file = SimpleUploadedFile(file_name, content)
    answer = console.post(reverse("console:prompt_sets"), {"file": file})
    assert answer.status_code == 302, answer.context["form"].errors
    return console.get(answer["Location"], choices, follow=True)


def import_upload(console: Client, content: bytes, file_name: str, name: str, **choices: Any) -> Any:
    """Upload a file, and import it as its preview shows it; return the last response."""
    shown = preview_of(console, content, file_name, **choices)
    address = reverse("console:prompt_import", args=[shown.context["upload"].token])
    return console.post(f"{address}?{shown.context['query'] or urlencode(choices)}", {"name": name})
