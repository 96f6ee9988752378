"""An installation of every earlier version, with data in its tables, migrated to the newest: nothing is lost."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.apps import apps as current_apps
from django.db import IntegrityError, connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from evenhand.generation.guidance import ClassifierFree
from evenhand.studies.models import Rating, Study
from evenhand.studies.rating import chain
from tests.helpers.factories import small_configuration

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

Row = dict[str, Any]
Rows = dict[tuple[str, Any], Row]  # by model and primary key
RENAMED = {("batch", "size"): "total", ("batch", "progress"): "done"}
REMOVED = {("booklet", "remainder_of_id")}  # slots tell since 0002 whose trials a booklet has taken over


def schemas() -> list[str]:
    """The names of all migrations, in order."""
    graph = MigrationExecutor(connection).loader.graph
    (leaf,) = graph.leaf_nodes("studies")
    return [name for app, name in graph.forwards_plan(leaf) if app == "studies"]


def migrate(name: str) -> Any:
    """Migrate to one schema; return its models."""
    executor = MigrationExecutor(connection)
    executor.migrate([("studies", name)])
    return executor.loader.project_state([("studies", name)]).apps


class Writer:
    """Writes rows of a schema. Fields that it does not have yet are left out."""

    def __init__(self, apps: Any) -> None:
        self.apps = apps

    def has(self, name: str) -> bool:
        return name.lower() in self.apps.all_models["studies"]

    def made(self, name: str, /, **values: Any) -> Any:
        model = self.apps.get_model("studies", name)
        known = {field.name for field in model._meta.get_fields()}
        row = model(**{key: value for key, value in values.items() if key in known})
        row.save(force_insert=True)
        return row


def populate(apps: Any, label: str) -> None:
    """Write a study with pictures, people and answers, in the tables that a schema has."""
    write = Writer(apps)
    user = apps.get_model("auth", "User").objects.create(username=f"owner {label}", is_staff=True)
    prompt_set = write.made("PromptSet", name=f"Set {label}", source="a.csv", sha256="0" * 64, count=2)
    prompts = [write.made("Prompt", prompt_set=prompt_set, index=i, text=f"a red circle {i}") for i in range(2)]
    recipe = write.made("Recipe", **RECIPE, revision=f"{label:0>64}")
    arms = [
        write.made("Arm", label=f"arm {i}", guidance=ClassifierFree(2.0 + i).to_dict(), fingerprint=f"{label}{i}")
        for i in range(2)
    ]
    images = [
        [write.made("Image", prompt=prompt, arm=arm, recipe=recipe, seed=3, state="done", **FILE) for arm in arms]
        for prompt in prompts
    ]
    write.made("ImageScore", image=images[0][0], metric="clip:demo", value=0.25)
    subset = write.made(
        "PromptSubset", prompt_set=prompt_set, encoder="demo", size=2, seed=0, percentiles=[50], per_stratum=1
    )
    write.made("SubsetPrompt", subset=subset, prompt=prompts[0], clip_score=0.25, stratum="middle")
    study = write.made("Study", name=f"Study {label}", owner=user, prompt_set=prompt_set, recipe=recipe, subset=subset)
    configuration = small_configuration()
    version = write.made(
        "StudyVersion", study=study, number=1, configuration=configuration.to_json(), sha256=configuration.sha256
    )
    study.state, study.current_version = "collecting", version
    study.save()
    write.made("AuditEvent", study=study, actor=user, action="created", detail={"version_hash": version.sha256})
    comparison = write.made("Comparison", study=study, position=0, baseline=arms[0], candidate=arms[1])
    pairs = [
        write.made("Pair", comparison=comparison, prompt=p, stratum="middle", baseline_image=i[0], candidate_image=i[1])
        for p, i in zip(prompts, images, strict=True)
    ]
    _populate_work(write, study, prompt_set)
    _populate_answers(write, study, version, pairs, user)
    _populate_later(write, study, user, arms)


RECIPE = {"checkpoint": "demo", "scheduler": "ddim", "steps": 4, "height": 64, "width": 64, "dtype": "float32"} | {
    "batch_size": 4
}
FILE = {"sha256": "a" * 64, "width": 64, "height": 64, "provenance": {"seed": 3}}


def _populate_work(write: Writer, study: Any, prompt_set: Any) -> None:
    stage = write.made("Stage", study=study, name="arms", position=0, state="failed", done=2, total=4, error="full")
    units = {"total": 2, "done": 1, "size": 2, "progress": 1}
    write.made("Batch", stage=stage, number=0, items=[1, 2], queue="gpu", attempts=3, state="failed", **units)
    leased = {"holder": uuid.uuid4(), "lease_until": timezone.now(), "state": "leased"}
    write.made("Batch", stage=stage, number=1, items=[3], queue="gpu", attempts=1, **units, **leased)
    write.made("SamplingRun", prompt_set=prompt_set, configuration="{}", total=4, done=1)


def _populate_answers(write: Writer, study: Any, version: Any, pairs: list[Any], user: Any) -> None:
    """Two people, one of whom corrects an answer; a skip, and an exclusion."""
    for number in range(2):
        person = write.made(
            "Evaluator",
            study=study,
            version=version,
            external_ids={"PROLIFIC_PID": f"p{number}"},
            consented_at=timezone.now(),
        )
        booklet = write.made("Booklet", study=study, block=0, number=number, evaluator=person)
        trials = [
            write.made(
                "Trial",
                booklet=booklet,
                position=position,
                pair=pair,
                candidate_on_left=bool(position),
                left_image=pair.baseline_image,
                right_image=pair.candidate_image,
                shown_at=timezone.now(),
            )
            for position, pair in enumerate(pairs)
        ]
        first = _answer(write, person, version, trials[0], None)
        if number:
            write.made("Skip", trial=trials[1], reason="skip", note="it did not load")
            write.made("Exclusion", study=study, evaluator=person, reason="too fast", made_by=user)
        else:
            type(first).objects.filter(pk=first.pk).update(superseded=True, **_no_slot(first))
            _answer(write, person, version, trials[0], first)


def _no_slot(rating: Any) -> Row:
    return {"slot": None} if hasattr(rating, "slot") else {}


def _answer(write: Writer, person: Any, version: Any, trial: Any, corrects: Any) -> Any:
    """Write an answer as the application did at the time: linked to the one before it by its hash."""
    before = corrects.sha256 if corrects else ""
    values = {
        "evaluator": person,
        "trial": trial,
        "version": version,
        "choice": 1,
        "key": uuid.uuid4(),
        "corrects": corrects,
        "counted": True,
        "elapsed_ms": 1500,
        "viewport": {"width": 1280},
        "rated_at": timezone.now(),
        "sequence": 2 if corrects else 1,
        "previous_sha256": before,
        "slot": getattr(trial, "slot", None),
    }
    known = {field.name for field in write.apps.get_model("studies", "Rating")._meta.get_fields()}
    content = Rating(**{name: value for name, value in values.items() if name not in PARTS})
    for name in PARTS:  # of the schema's own models: only what the hash covers is read from them
        content._state.fields_cache[name] = values[name]
    assert known >= {"sequence", "sha256"}
    return write.made("Rating", sha256=chain.row_sha256(content), **values)


PARTS = ("evaluator", "trial", "version", "corrects")


def _populate_later(write: Writer, study: Any, user: Any, arms: list[Any]) -> None:
    """Rows of the tables that came later."""
    if write.has("Scoring"):
        scoring = write.made("Scoring", study=study, plan={"metrics": ["clip"]}, created_by=user)
        write.made("ScoringPart", scoring=scoring, phase=0, number=0, items=[1], queue="gpu")
        write.made("ArmScore", scoring=scoring, arm=arms[0], metric="frechet:clip", value=3.5, n=2)
    if write.has("Membership"):
        write.made("Membership", study=study, user=user, role="viewer")
    if write.has("WorkerSign"):
        write.made("WorkerSign", name=f"worker {study.pk}", queues="cpu", seen_at=timezone.now())
    if write.has("Arrivals"):
        write.made("Arrivals", source=f"link:{study.pk}", hour=timezone.now())
    if write.has("AlarmNotice"):
        write.made("AlarmNotice", study=study, key="still", text="It stands still.")


def rows_of(apps: Any) -> Rows:
    """All rows of the application, by table and primary key."""
    found: Rows = {}
    for name, model in apps.all_models["studies"].items():
        if not model._meta.auto_created:
            found |= {(name, row[model._meta.pk.attname]): row for row in model.objects.values()}
    return found


def differences(before: Mapping[tuple[str, Any], Row], after: Rows) -> Iterator[str]:
    """What a migration lost or changed of the rows that were there before it."""
    for (model, pk), row in before.items():
        if (model, pk) not in after:
            yield f"{model} {pk} is gone"
            continue
        for name, value in row.items():
            new = RENAMED.get((model, name), name)
            if new not in after[model, pk]:
                if (model, name) in REMOVED:
                    continue
                yield f"{model}.{name} is gone"
            elif after[model, pk][new] != value:
                yield f"{model} {pk}: {name} was {value!r}, and {new} is {after[model, pk][new]!r}"


def test_data_of_every_earlier_schema_is_kept() -> None:
    """At each schema a study is written; those of all earlier ones go through every later migration."""
    names = schemas()
    before: Rows = {}
    try:
        apps = migrate(names[0])
        for name in names[:-1]:
            apps = apps if name == names[0] else migrate(name)
            populate(apps, name[:4])
            for key, row in rows_of(apps).items():
                before.setdefault(key, row)
    finally:
        migrate(names[-1])
    expected = {f"Study {name[:4]}" for name in names[:-1]}
    assert set(Study.objects.values_list("name", flat=True)) == expected
    assert list(differences(before, rows_of(current_apps))) == []
    for study in Study.objects.all():
        assert [str(fault) for fault in chain.faults(study)] == []
        assert Rating.objects.filter(evaluator__study=study).count() == 3
    _pages_answer()


def _pages_answer() -> None:
    """Every study's pages can be shown to its owner."""
    for study in Study.objects.select_related("owner"):
        client = Client()
        client.force_login(study.owner)
        assert client.get(reverse("console:study", args=[study.pk])).status_code == 200, study
        assert client.get(reverse("console:results", args=[study.pk])).status_code == 200, study


def test_the_release_before_cannot_write_into_the_tables_of_a_newer_one() -> None:
    """So the two must not run side by side, as docs/upgrading.md says; what is there stays as it is."""
    older = MigrationExecutor(connection).loader.project_state([("studies", "0018_keeps_out")]).apps
    with pytest.raises(IntegrityError, match=r"(?i)null.*errors|errors.*null"):
        populate(older, "old")
    assert Study.objects.filter(name="Study old").exists()
    assert not Rating.objects.exists()
