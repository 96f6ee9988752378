"""A made-up right-to-left language, to see what is translated and what turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.conf import settings as django_settings
from django.utils.translation import trans_real

CATALOGUE = Path(__file__).resolve().parents[2] / "locale" / "de" / "LC_MESSAGES" / "django.po"


@pytest.fixture
def pseudo(tmp_path: Path, settings: object) -> Iterator[None]:
    """A made-up right-to-left translation of every message: the English one between brackets, as Arabic."""
    folder = tmp_path / "ar" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    po = polib.pofile(str(CATALOGUE))
    po.metadata["Language"] = "ar"
    for entry in po:
        if entry.msgid_plural:
            entry.msgstr_plural = {0: f"⟦{entry.msgid}⟧", 1: f"⟦{entry.msgid_plural}⟧"}
        else:
            entry.msgstr = f"⟦{entry.msgid}⟧"
    po.save_as_mofile(str(folder / "django.mo"))
    settings.LOCALE_PATHS = [tmp_path, *django_settings.LOCALE_PATHS]  # type: ignore[attr-defined]
    settings.LANGUAGES = [*django_settings.LANGUAGES, ("ar", "Pseudo")]  # type: ignore[attr-defined]
    trans_real._translations.pop("ar", None)  # type: ignore[attr-defined]
    yield
    trans_real._translations.pop("ar", None)  # type: ignore[attr-defined]
