"""An evaluator's way through the pages, walked with Django's test client."""

from __future__ import annotations

import uuid
from typing import Any

from django.test import Client

from evenhand.studies.access import link_for
from evenhand.studies.models import Evaluator

JSON = {"Accept": "application/json"}


class Visitor:
    """A browser's JSON side: one evaluator's link, walked with Django's test client."""

    def __init__(self, client: Client, evaluator: Evaluator) -> None:
        self.client, self.evaluator, self.path = client, evaluator, link_for(evaluator)

    def status(self) -> dict[str, Any]:
        """``GET`` as JSON."""
        return self.client.get(self.path, headers=JSON).json()

    def post(self, what: str, data: dict[str, Any]) -> Any:
        """``POST`` with JSON wanted."""
        return self.client.post(f"{self.path}{what}/", data, headers=JSON)


def answer(trial: dict[str, Any], choice: int | str = 1, **more: Any) -> dict[str, Any]:
    """The form of an answer to a trial as the JSON shows it."""
    return {"trial": trial["id"], "choice": choice, "elapsed_ms": "1200", "key": str(uuid.uuid4()), **more}
