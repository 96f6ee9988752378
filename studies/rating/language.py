"""The language of an evaluator's pages: the one they consented in, else the link's, else the browser's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.http import HttpRequest
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header

from studies.models import Evaluator


def language_of(request: HttpRequest, evaluator: Evaluator | None = None) -> str:
    """A language that there is."""
    asked = request.POST.get("lang") or request.GET.get("lang") or ""
    accepted = [code for code, _ in parse_accept_lang_header(request.headers.get("Accept-Language", ""))]
    for code in (evaluator.language if evaluator else "", asked, *accepted):
        try:
            return translation.get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


@contextmanager
def speaking(request: HttpRequest, evaluator: Evaluator | None = None) -> Iterator[str]:
    """Everything inside speaks the evaluator's language."""
    language = language_of(request, evaluator)
    with translation.override(language):
        request.LANGUAGE_CODE = language
        yield language
