"""Open a new study from a bundle: the same pairs, sides, booklets, wording and rules, for other people."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.bundle import verify_bundle
from evenhand.studies.bundle.importing import Import
from evenhand.studies.bundle.records import Record
from evenhand.studies.bundle.verify_bundle import Bundle, Result
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.image_store import store_picture
from evenhand.studies.models import Replication, Study
from evenhand.studies.results.report.replication import COLUMNS

LARGEST_PICTURE = 2**28  # bytes
MOST_PIXELS = 2**26
PROBLEMS_SHOWN = 5
COUNTS = {"trial_kind": "main", "counted": "TRUE", "superseded": "FALSE", "excluded": "FALSE"}  # of the CSV's rows
OWN = ("contact", "approval", "completion_code", "completion_url")  # settings that a new study's owner gives anew
FORM = (KeyError, TypeError, AttributeError, IndexError, ValueError)  # what records of another form raise

Progress = Callable[[int, int], None]


class ReplicationError(InputError):
    """A bundle that no study can be opened from; the message says why, and no record was stored."""


def replicate(path: Path, *, name: str, owner: AbstractBaseUser, progress: Progress = lambda _done, _of: None) -> Study:
    """Verify a bundle and open a study from it, ready for evaluators; nothing is generated.

    progress: called with the pictures imported so far and all of them. Raises ``ReplicationError``: for a bundle that
    does not verify, a name that is taken, or records that this version does not know.
    """
    name = _free_name(name)
    result = verify_bundle.verify_path(path)
    if result.problems:
        more = f"; and {len(result.problems) - PROBLEMS_SHOWN} more" if len(result.problems) > PROBLEMS_SHOWN else ""
        raise ReplicationError(f"{path} does not verify: {'; '.join(result.problems[:PROBLEMS_SHOWN])}{more}")
    bundle = verify_bundle.open_bundle(path)
    try:
        configuration = _configuration(bundle, result)
        _store_pictures(bundle, progress)
        with transaction.atomic():
            study = _write(bundle, result, configuration, name, owner)
    except IntegrityError as error:
        _free_name(name)  # raises the right error where somebody took the name meanwhile
        raise ReplicationError(f"{path} holds records that exclude each other: {error}") from error
    except ReplicationError:
        raise
    except InputError as error:
        raise ReplicationError(f"{path}: {error}") from error
    except FORM as error:
        raise ReplicationError(
            f"{path} holds a record that this version does not know: {type(error).__name__} {error}"
        ) from error
    finally:
        bundle.close()
    return study


def _free_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 100:
        raise ReplicationError(f"a study's name has 1 to 100 characters, not {len(name)}")
    if Study.objects.filter(name=name).exists():
        raise ReplicationError(f"there is a study named “{name}” already")
    return name


def _configuration(bundle: Bundle, result: Result) -> StudyConfiguration:
    """Return the configuration in force when the bundle was written, without what the new owner must give."""
    assert result.content is not None  # there were no problems
    about = result.content.about
    [file] = [each["file"] for each in about["versions"] if each["number"] == about["current_version"]]
    with bundle.open(file) as stream:
        configuration = StudyConfiguration.from_json(stream.read().decode())
    emptied: dict[str, Any] = dict.fromkeys(OWN, "")
    return replace(configuration, **emptied, end_returns=())


def _store_pictures(bundle: Bundle, progress: Progress) -> None:
    """Put every picture into the store under its hash; those that are there already stay as they are."""
    pictures = {row["file"]: row for _, row in verify_bundle.rows(bundle, "images.jsonl")}
    for count, (file, row) in enumerate(pictures.items(), start=1):
        if bundle.sizes[file] > LARGEST_PICTURE or row["width"] * row["height"] > MOST_PIXELS:
            raise ReplicationError(f"{file} is too large: {row['width']} by {row['height']} pixels")
        with bundle.open(file) as stream:
            sha256 = store_picture(stream.read(LARGEST_PICTURE))
        if sha256 != row["sha256"]:
            raise ReplicationError(f"{file} changed while it was read")
        progress(count, len(pictures))


def _write(
    bundle: Bundle, result: Result, configuration: StudyConfiguration, name: str, owner: AbstractBaseUser
) -> Study:
    """Write all records of the new study."""
    assert result.content is not None
    about = result.content.about
    source = f"bundle {result.root[:12]} of {about['study']['name']}"
    new = Import(bundle, configuration)
    study = new.write(name=name, owner=owner, source=source[:255])
    Replication.objects.create(
        study=study,
        bundle_root=result.root,
        anonymous=about["anonymous"],
        original_name=about["study"]["name"],
        original_state=Study.State(about["study"]["state"]),
        original_version_sha256=result.content.versions[about["current_version"]],
        ratings=_ratings(bundle, configuration, new.pairs),
    )
    audit.record(
        study, "replicated", actor=owner, bundle_root=result.root, original=about["study"]["name"],
        version_hash=configuration.sha256, emptied=[*OWN, "end_returns"],
    )  # fmt: skip
    return study


def _ratings(bundle: Bundle, configuration: StudyConfiguration, pairs: dict[int, Any]) -> dict[str, list[Any]]:
    """Return the original's counting ratings as columns, with the new study's pairs."""
    criteria = {criterion.name: i for i, criterion in enumerate(configuration.criteria)}
    people: dict[str, int] = {}
    columns: dict[str, list[Any]] = {column: [] for column in COLUMNS}
    for row in _counting(bundle):
        values = (
            pairs[int(row["pair"])].pk,
            criteria[row["criterion"]],
            people.setdefault(row["evaluator"], len(people)),
            int(row["preference"]),
            row["simulated"] == "TRUE",
        )
        for column, value in zip(COLUMNS, values, strict=True):
            columns[column].append(value)
    return columns


def _counting(bundle: Bundle) -> Iterator[Record]:
    with bundle.open("ratings.csv") as stream:
        for row in csv.DictReader(io.TextIOWrapper(stream, "utf-8", newline="")):
            if all(row[column] == value for column, value in COUNTS.items()):
                yield row
