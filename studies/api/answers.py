"""Define what the API answers with; the OpenAPI document shows the same."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Schema
from pydantic import Field, create_model

from evenhand.studies.results.export import COLUMNS, type_of


class Problem(Schema):
    """Why a request was refused, in words."""

    error: str


class StudyLine(Schema):
    """A study in the list."""

    id: int
    name: str
    state: str = Field(description="draft, preparing, ready, collecting, paused or closed")
    role: str = Field(description="yours in it: viewer, collaborator, owner or superuser")
    prompt_set: str
    created_at: datetime
    archived: bool


class ComparisonLine(Schema):
    """Two arms that are compared."""

    number: int = Field(description="from 1, as in the exports")
    baseline: str
    candidate: str
    pairs: int


class VersionLine(Schema):
    """A version of the configuration."""

    number: int
    sha256: str = Field(description="of the canonical JSON; every rating names it as version_hash")
    created_at: datetime


class OneStudy(StudyLine):
    """A study with its plan."""

    version_hash: str = Field(description="SHA-256 of the configuration in force")
    configuration: dict[str, Any] = Field(description="all settings in force, as manage.py study show writes them")
    versions: list[VersionLine]
    comparisons: list[ComparisonLine]


class PairLine(Schema):
    """Two pictures of one prompt, made from the same seed."""

    pair: int = Field(description="its identifier, as in the exports")
    comparison: int
    prompt_index: int = Field(description="place of the prompt in the prompt set, from 0")
    prompt: str
    stratum: str
    seed: int | None
    baseline_image_sha256: str
    candidate_image_sha256: str
    largest_difference: int | None = Field(description="of corresponding levels, 0 to 255; null: not compared")


NEXT = Field(default=None, description="address of the next page; null on the last one")


class Studies(Schema):
    """A page of studies, the newest first."""

    items: list[StudyLine]
    next: str | None = NEXT


class Pairs(Schema):
    """A page of pairs, by their identifiers."""

    items: list[PairLine]
    next: str | None = NEXT


def _type(kind: str) -> Any:
    """Return the type of a column's values; what a browser measures in pixels is not always whole."""
    return int | float | None if "pixels" in kind else type_of(kind) | None


_columns: dict[str, Any] = {
    column.name: (_type(column.kind), Field(description=f"{column.description} {column.values}")) for column in COLUMNS
}
RatingLine: Any = create_model(
    "RatingLine",
    __base__=Schema,
    __doc__="A rating: the columns of the preference CSV under the same names; null where the CSV is empty.",
    **_columns,
)
Ratings: Any = create_model(
    "Ratings",
    __base__=Schema,
    __doc__="A page of ratings, in the order in which they arrived.",
    items=(list[RatingLine], ...),
    next=(str | None, NEXT),
)
