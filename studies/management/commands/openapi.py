"""``manage.py openapi``: write the API's OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand

from evenhand.studies.api.views import api


class Command(BaseCommand):
    """Writes JSON to standard output; ``docs/openapi.json`` holds what it wrote last."""

    help = "Write the API's OpenAPI document, for docs/openapi.json and for programs that make clients of it."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps(api.get_openapi_schema(), indent=2, ensure_ascii=False))
