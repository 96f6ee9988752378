"""The language of an evaluator's pages: the one they consented in, else the link's, else the browser's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.http import HttpRequest
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header

from evenhand.studies.models import Evaluator


def language_of(request: HttpRequest, evaluator: Evaluator | None = None, *, body: bool = True) -> str:
    """A language that there is. body: whether the request's body may be read (not where it was refused)."""
    asked = (request.POST.get("lang") if body else "") or request.GET.get("lang") or ""
    accepted = [code for code, _ in parse_accept_lang_header(request.headers.get("Accept-Language", ""))]
    for code in (evaluator.language if evaluator else "", asked, *accepted):
        try:
            return translation.get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


@contextmanager
def speaking(request: HttpRequest, evaluator: Evaluator | None = None, *, body: bool = True) -> Iterator[str]:
    """Everything inside speaks the evaluator's language."""
    language = language_of(request, evaluator, body=body)
    with translation.override(language):
        request.LANGUAGE_CODE = language
        yield language
