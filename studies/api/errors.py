"""Answer in JSON what goes wrong: who may not, what is not there, what was asked wrongly."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, ValidationError

HEADERS = {"Cache-Control": "private, no-store"}
WITHOUT = "send a token in the header “Authorization: Bearer …”; you make one on the console's page “API tokens”"


def problem(text: str, status: int, **headers: str) -> HttpResponse:
    """Return an error as JSON."""
    return JsonResponse({"error": text}, status=status, headers=HEADERS | headers)


def answer_errors(api: NinjaAPI) -> None:
    """Let an API answer its errors in words."""
    api.add_exception_handler(AuthenticationError, _no_token)
    api.add_exception_handler(PermissionDenied, lambda _, error: problem(str(error), 403))
    api.add_exception_handler(Http404, _not_found)
    api.add_exception_handler(ValidationError, _asked_wrongly)


def _no_token(_: HttpRequest, error: Any) -> HttpResponse:
    text = WITHOUT if error.message == "Unauthorized" else error.message  # Ninja's own word where there is none
    return problem(text, 401, **{"WWW-Authenticate": "Bearer"})


def _not_found(_: HttpRequest, __: Any) -> HttpResponse:
    return problem("there is no such study, or you have no role in it", 404)


def _asked_wrongly(_: HttpRequest, error: Any) -> HttpResponse:
    return problem("; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors), 422)


def read_only(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Answer in JSON to any method but GET."""

    @wraps(view)
    def answer(request: HttpRequest, *args: object, **options: object) -> HttpResponseBase:
        if request.method != "GET":
            return problem(f"the API only reads: use GET, not {request.method}", 405, Allow="GET")
        response = view(request, *args, **options)
        response.headers.setdefault("Cache-Control", HEADERS["Cache-Control"])
        return response

    return csrf_exempt(answer)  # nothing can be changed here, and no cookie is looked at
