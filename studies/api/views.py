"""Serve the API: studies, pairs, ratings, the report and the preference CSV, each by GET and a token."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Count, F
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone
from ninja import NinjaAPI, Path, Query
from ninja.errors import AuthenticationError
from ninja.operation import Operation
from ninja.security import HttpBearer

from evenhand.studies import audit
from evenhand.studies.access import Right, role_in, studies_of, study_of
from evenhand.studies.api.answers import OneStudy, Pairs, Problem, Ratings, Studies
from evenhand.studies.api.errors import answer_errors, read_only
from evenhand.studies.console.downloads import csv_response
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import ApiToken, Pair, Study
from evenhand.studies.results.export import csv_lines, rating_page
from evenhand.studies.results.report import study_report
from evenhand.studies.tokens import TokenError, token_of

MOST = 1000  # records of a page


class Token(HttpBearer):
    """A token that a user has made in the console."""

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken:  # noqa: ARG002 (Ninja's signature)
        """Return the token's record. Raises ``AuthenticationError``, answered by 401."""
        try:
            return token_of(token)
        except TokenError as error:
            raise AuthenticationError(message=str(error)) from error


class ReadingApi(NinjaAPI):
    """An API whose operations bear their functions' names."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the operation's name in the document, which clients that are generated from it take over."""
        return str(operation.view_func.__name__)


api = ReadingApi(
    title="Evenhand",
    version="1",
    description="Read studies, pairs, ratings and results. Every address takes GET alone, and a token.",
    auth=Token(),
    docs_url=None,
    openapi_url=None,
    urls_namespace="api",
)
answer_errors(api)
Number = Annotated[int, Path(description="the study's number, as in the console's addresses", ge=1, lt=2**63)]
After = Annotated[int, Query(description="where the page begins; take it from next", ge=0, lt=2**63)]
Limit = Annotated[int, Query(description="records of a page", ge=1, le=MOST)]
Whose = Annotated[
    Literal["real", "simulated", "all"] | None,
    Query(description="whose ratings; left out: the simulated ones only where no real one counts"),
]
REFUSED: dict[Any, Any] = {401: Problem, 404: Problem, 422: Problem}


@api.get("studies", response={200: Studies, 401: Problem, 422: Problem}, url_name="studies")
def studies(request: HttpRequest, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """List the studies in which you have a role, the newest first."""
    rows = studies_of(_user(request)).select_related("prompt_set").order_by("-pk")
    if after:
        rows = rows.filter(pk__lt=after)
    found = list(rows[: limit + 1])
    shown = found[:limit]
    return {"items": [_line(row) for row in shown], "next": _next(request, found, shown, limit)}


@api.get("studies/{number}", response={200: OneStudy} | REFUSED, url_name="study")
def study(request: HttpRequest, number: Number) -> dict[str, Any]:
    """Return a study with its plan, its versions and its comparisons."""
    found = study_of(_user(request), number, Right.READ)
    configuration = configuration_of(found)
    comparisons = found.comparisons.annotate(count=Count("pairs")).order_by("position")
    return _line(found) | {
        "version_hash": configuration.sha256,
        "configuration": json.loads(configuration.to_json()),
        "versions": list(found.versions.order_by("number").values("number", "sha256", "created_at")),
        "comparisons": [
            {"number": position + 1, "baseline": baseline, "candidate": candidate, "pairs": count}
            for position, baseline, candidate, count in comparisons.values_list(
                "position", "baseline__label", "candidate__label", "count"
            )
        ],
    }


@api.get("studies/{number}/pairs", response={200: Pairs} | REFUSED, url_name="pairs")
def pairs(request: HttpRequest, number: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Return the pairs of pictures, by their identifiers."""
    found = study_of(_user(request), number, Right.READ)
    rows = Pair.objects.filter(comparison__study=found, pk__gt=after).order_by("pk")
    values = rows.values(
        "pk", "stratum", "largest_difference",
        prompt_index=F("prompt__index"), text=F("prompt__text"), position=F("comparison__position"),
        seed=F("baseline_image__seed"), baseline_image_sha256=F("baseline_image__sha256"),
        candidate_image_sha256=F("candidate_image__sha256"),
    )  # fmt: skip
    lines: list[dict[str, Any]] = [
        row | {"pair": row["pk"], "prompt": row["text"], "comparison": row["position"] + 1}
        for row in values[: limit + 1]
    ]
    shown = lines[:limit]
    following = shown[-1]["pk"] if len(lines) > limit else None
    return {"items": shown, "next": _address(request, following, limit)}


@api.get("studies/{number}/ratings", response={200: Ratings} | REFUSED, url_name="ratings")
def ratings(request: HttpRequest, number: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Return the ratings in the order in which they arrived, with the columns of the preference CSV.

    The first reading of a day is recorded in the study's log.
    """
    found = study_of(_user(request), number, Right.READ)
    items, following = rating_page(found, after=after, limit=limit)
    _record_reading(request, found, "ratings")
    return {"items": items, "next": _address(request, following, limit)}


@api.get("studies/{number}/report", response={200: dict[str, Any]} | REFUSED, url_name="report")
def report(request: HttpRequest, number: Number, ratings: Whose = None) -> HttpResponseBase:
    """Return the statistics, as report.json has them."""
    found = study_of(_user(request), number, Right.READ)
    return JsonResponse(study_report(found, population=ratings))


@api.get("studies/{number}/export", response=REFUSED, url_name="export", openapi_extra={
    "responses": {200: {"description": "UTF-8", "content": {"text/csv": {"schema": {"type": "string"}}}}}
})  # fmt: skip
def export(request: HttpRequest, number: Number) -> HttpResponseBase:
    """Stream the preference CSV; the download is recorded in the study's log."""
    found = study_of(_user(request), number, Right.READ)
    audit.record(found, audit.TABLE, actor=_user(request), table="preferences", token=_token(request).name)
    return csv_response(found, "preferences", csv_lines(found))


def _token(request: HttpRequest) -> ApiToken:
    token = request.auth  # type: ignore[attr-defined]  # set by Ninja
    assert isinstance(token, ApiToken)
    return token


def _user(request: HttpRequest) -> AbstractBaseUser:
    return _token(request).user


def _line(study: Study) -> dict[str, Any]:
    return {
        "id": study.pk,
        "name": study.name,
        "state": study.state,
        "role": role_in(study),
        "prompt_set": study.prompt_set.name,
        "created_at": study.created_at,
        "archived": study.archived_at is not None,
    }


def _next(request: HttpRequest, found: list[Study], shown: list[Study], limit: int) -> str | None:
    return _address(request, shown[-1].pk if len(found) > limit else None, limit)


def _address(request: HttpRequest, after: int | None, limit: int) -> str | None:
    """Return the address of the page behind ``after``; none where there is none."""
    if after is None:
        return None
    return request.build_absolute_uri(f"{request.path}?{urlencode({'after': after, 'limit': limit})}")


def _record_reading(request: HttpRequest, study: Study, table: str) -> None:
    """Record that a token reads a table: once a day, since a reading has many pages."""
    token = _token(request)
    detail = {"table": table, "token": token.name}
    today = study.events.filter(
        action=audit.READ_BY_API, actor=token.user_id, at__gte=timezone.now().replace(hour=0, minute=0, second=0)
    )
    if not any(event.detail == detail for event in today):
        audit.record(study, audit.READ_BY_API, actor=token.user, **detail)


urlpatterns = api.urls[0]
for address in urlpatterns:
    assert address.callback is not None
    address.callback = read_only(address.callback)
