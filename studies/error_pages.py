"""Answer what goes wrong with a page: evaluators in their language, study admins in English."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import csrf, defaults

from evenhand.studies.rating.language import speaking

EVALUATORS = ("/e/", "/j/")
PROGRAMS = "/api/"  # where errors are JSON


@contextmanager
def _in_their_language(request: HttpRequest) -> Iterator[None]:
    if not request.path.startswith(EVALUATORS):
        yield
        return
    with speaking(request, body=False):
        yield


def _handler(answer: Callable[..., HttpResponse]) -> Callable[[HttpRequest, Exception], HttpResponse]:
    def handle(request: HttpRequest, exception: Exception) -> HttpResponse:
        with _in_their_language(request):
            page = answer(request, exception)
        if request.path.startswith(PROGRAMS):
            return JsonResponse({"error": f"there is nothing at {request.path}"}, status=page.status_code)
        return page

    return handle


bad_request = _handler(defaults.bad_request)
not_allowed = _handler(defaults.permission_denied)
not_found = _handler(defaults.page_not_found)


def fault(request: HttpRequest) -> HttpResponse:
    """Answer after an exception; nothing is asked of the database, which may be the fault."""
    if request.path.startswith(PROGRAMS):
        return JsonResponse({"error": "the server has failed; its log says why"}, status=500)
    with _in_their_language(request):
        return defaults.server_error(request)


def without_token(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that came without its token, or with an old one."""
    with _in_their_language(request):
        return csrf.csrf_failure(request, reason)
