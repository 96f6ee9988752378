"""Choose the language of an evaluator's pages: of their consent, else the link's, else the browser's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.http import HttpRequest
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header

from evenhand.studies.models import Evaluator


def language_of(request: HttpRequest, evaluator: Evaluator | None = None, *, body: bool = True) -> str:
    """Return a supported language. body: whether the request's body may be read; not where it was refused."""
    choice = (request.POST.get("lang") if body else "") or request.GET.get("lang") or ""
    browser_codes = [code for code, _ in parse_accept_lang_header(request.headers.get("Accept-Language", ""))]
    for code in (evaluator.language if evaluator else "", choice, *browser_codes):
        try:
            return translation.get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


@contextmanager
def speaking(request: HttpRequest, evaluator: Evaluator | None = None, *, body: bool = True) -> Iterator[str]:
    """Translate everything inside into the evaluator's language."""
    language = language_of(request, evaluator, body=body)
    with translation.override(language):
        request.LANGUAGE_CODE = language
        yield language
