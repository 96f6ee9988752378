"""Every address gives each role what the table says; a new address must be entered there."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import FileResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.sampling.subset import FrechetCurve
from evenhand.studies.models import ApiToken, Image, ImageScore, SamplingRun, SemanticMap, Study
from evenhand.studies.results import figures
from evenhand.studies.tokens import make_token
from tests.helpers.access_table import ADMIN, ROLES, TABLE
from tests.helpers.bundles import rated_study
from tests.helpers.factories import make_admin, make_member, small_configuration

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def routes() -> list[str]:
    """Return every address's pattern, without those of Django's admin."""

    def walk(patterns: list[Any], before: str = "") -> Iterator[str]:
        for each in patterns:
            route = before + str(each.pattern)
            if isinstance(each, URLResolver):
                yield from walk(each.url_patterns, route)
            elif isinstance(each, URLPattern):
                yield route

    return [route for route in walk(get_resolver().url_patterns) if not route.startswith("admin/")]


def test_every_address_is_in_the_table() -> None:
    assert set(TABLE) == set(routes())


def test_the_page_shows_the_table() -> None:
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-m", "scripts.list_access", "--check"], cwd=root, check=True)


@pytest.fixture
def study() -> Study:
    """An open study with answers, a curve, and a prompt set of its owner."""
    strengths = (2.0, 5.0, 10.0)
    made = rated_study(
        close=False, candidates=tuple(SegmentationFree(each, opening=ClassifierFree(2.0)) for each in strengths)
    )
    for image in Image.objects.filter(recipe=made.recipe, kind="generated"):
        ImageScore.objects.create(image=image, metric="clip:demo", value=0.2 + image.pk / 1000)
        SemanticMap.objects.create(image=image, state="done", found={"names": ["a", "cat"], "tokens": [[0, 1]]})
    assert made.subset is not None
    made.subset.frechet_curve = CURVE.to_dict()
    made.subset.save()
    made.prompt_set.creator = made.owner
    made.prompt_set.save()
    return made


CURVE = FrechetCurve(60, (8, 24), ((4.0, 5.0), (1.0, 1.5)), (0.5, 0.1), ((1.0, 1.2), (0.2, 0.3)), ((4.0,), (1.0,)))


@pytest.fixture
def clients(study: Study) -> dict[str, Client]:
    """A browser of each role."""
    root = make_admin("root")
    root.is_superuser = True
    root.save()
    users = {
        "no role": get_user_model().objects.create_user("stranger", password="a long password"),
        "viewer": make_member(study, "viewer"),
        "collaborator": make_member(study, "collaborator"),
        "owner": study.owner,
        "superuser": root,
    }
    found = {"anonymous": Client()}
    for role, user in users.items():
        found[role] = Client()
        found[role].force_login(user)
    return found


def with_tokens(clients: dict[str, Client], study: Study) -> dict[str, Client]:
    """A program of each role: no session, and a token of the role's account."""
    users = {"no role": "stranger", "viewer": "viewer", "collaborator": "collaborator", "superuser": "root"}
    users["owner"] = study.owner.get_username()
    programs = {"anonymous": Client()}
    for role, username in users.items():
        _, text = make_token(get_user_model().objects.get(username=username), "matrix")
        programs[role] = Client(headers={"Authorization": f"Bearer {text}"})
    assert set(programs) == set(clients)
    return programs


def answered(client: Client, method: str, path: str) -> str:
    """Ask, undo what was changed, and name the answer as the table does."""
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    with transaction.atomic():
        response = getattr(client, method)(path)
        if response.status_code == 302 and "/login/?next=" in response["Location"]:
            answer = "login"
        else:
            answer = "yes" if response.status_code in (200, 301, 302, 400, 409) else str(response.status_code)
        if isinstance(response, FileResponse):
            response.getvalue()  # which closes the file
        transaction.set_rollback(True)
    client.cookies = SimpleCookie(cookies)  # of a login that has been undone, or ended by logging out
    return answer


def path_of(route: str, study: Study) -> str:
    """Return an address of a route: of the study, where it names one."""
    run = SamplingRun.objects.get(prompt_set=study.prompt_set)
    member = study.memberships.get(role="viewer")
    person, image = study.evaluators.first(), study.comparisons.get(position=0).pairs.all()[0].baseline_image_id
    assert person is not None
    pair = study.comparisons.get(position=0).pairs.all()[0]
    values = {
        "pk": study.prompt_set_id if "prompts/" in route else image if "images/" in route else study.pk,
        "run": run.pk,
        "member": member.pk,
        "evaluator": person.pk,
        "pair": pair.pk,
        "number": 1 if "versions/" in route else study.pk if route.startswith("api/") else 0,
        "kind": "csv" if "tables/" in route else "json" if "versions/" in route else "svg",
        "name": next((name for part, name in NAMES.items() if part in route), ""),
        "action": "pause",
        "step": "sampling",
        "key": "0" * 16,
        "side": "left",
        "trial": uuid.uuid4(),
        "token": "AAAAAAAAAAAA." + "0" * 32,
    }
    if "tokens/<" in route:
        values["pk"] = ApiToken.objects.get_or_create(user=make_admin("nobody"), name="x", hmac="x")[0].pk
    path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(values[match[1]]), route)
    return f"{path}?method=segmentation_free" if route.endswith("candidates/new/") else path


NAMES = {
    "parts/": "evaluators",
    "metrics/tables/": "arms",
    "studies/<int:pk>/tables/": "strata",
    "metrics/": "agreement",
}


def test_each_role_gets_what_the_table_says(
    study: Study, clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "scores", lambda *_, **__: b"<svg/>")  # which too few people have rated here
    SamplingRun.objects.create(
        prompt_set=study.prompt_set,
        configuration=small_configuration().to_json(),
        state="done",
        frechet_curve=CURVE.to_dict(),
        creator=study.owner,
    )
    wrong, programs = {}, with_tokens(clients, study)
    for route, expected in TABLE.items():
        path = path_of(route, study)
        asking = programs if route.startswith("api/") else clients
        for method, by_role in zip(("get", "post"), expected, strict=True):
            got = tuple(answered(asking[role], method, path) for role in ROLES)
            if got != by_role:
                wrong[f"{method} {path}"] = (got, by_role)
    assert wrong == {}, "\n".join(f"{k} {v}" for k, v in wrong.items())


def test_a_session_opens_nothing_of_the_api(study: Study, clients: dict[str, Client]) -> None:
    addresses = [f"/{route.replace('<number>', str(study.pk))}" for route in TABLE if route.startswith("api/studies")]
    assert len(addresses) == 6
    assert {clients[role].get(path).status_code for path in addresses for role in ROLES} == {401}


def test_the_records_in_django_s_admin_are_never_changed(study: Study, clients: dict[str, Client]) -> None:
    wrong = {}
    for model in (model for model in site._registry if model._meta.app_label == "studies"):
        for route, expected in ADMIN.items():
            pk = study.pk if model is Study else 10**9
            path = "/" + route.replace("<record>", str(model._meta.model_name)).replace("<pk>", str(pk))
            for method, by_role in zip(("get", "post"), expected, strict=True):
                got = tuple(answered(clients[role], method, path) for role in ROLES)
                if got != by_role and not (model is not Study and "<pk>" in route):
                    wrong[f"{method} {path}"] = (got, by_role)
    assert wrong == {}
