"""Roles in a study, and who sees prompt sets, tried settings and pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client
from django.urls import reverse

from evenhand.studies.access import Right, allows, role_in, studies_of, study_of
from evenhand.studies.members import MemberError, set_role
from evenhand.studies.models import AuditEvent, Image, Membership, Study
from evenhand.studies.pipeline import sampling_runs
from evenhand.studies.prompt_import import import_file
from evenhand.studies.visibility import image_of, prompt_sets_of, runs_of
from tests.helpers.factories import (
    drawn_image,
    make_admin,
    make_draft,
    make_member,
    make_ready_study,
    small_configuration,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_each_role_includes_the_rights_of_the_one_below() -> None:
    held = {role: [right.value for right in Right if allows(role, right)] for role in ("", *ROLES)}
    assert held == {
        "": [],
        "viewer": ["read"],
        "collaborator": ["read", "change"],
        "owner": ["read", "change", "own"],
        "superuser": ["read", "change", "own"],
    }


ROLES = ("viewer", "collaborator", "owner", "superuser")


def test_a_member_reaches_a_study_as_far_as_the_role_goes() -> None:
    study, other = make_draft(name="Shapes"), make_draft(name="Others")
    viewer, collaborator = make_member(study, "viewer"), make_member(study, "collaborator")
    make_member(study, "viewer", "second")  # a study with several members is listed once
    assert [(found.pk, role_in(found)) for found in studies_of(study.owner)] == [(study.pk, "owner")]
    assert [(found.pk, role_in(found)) for found in studies_of(viewer)] == [(study.pk, "viewer")]
    assert not studies_of(viewer, Right.CHANGE).exists()
    assert list(studies_of(collaborator, Right.CHANGE)) == [study]
    assert not studies_of(collaborator, Right.OWN).exists()
    with pytest.raises(PermissionDenied, match="you are viewer of “Shapes”, and this needs a collaborator"):
        study_of(viewer, study.pk)
    with pytest.raises(PermissionDenied, match="you are collaborator of “Shapes”, and this is for its owner"):
        study_of(collaborator, study.pk, Right.OWN)
    with pytest.raises(Http404):
        study_of(collaborator, other.pk, Right.READ)


def test_the_owner_gives_changes_and_takes_roles_and_each_step_is_recorded(client: Client) -> None:
    study, bob = make_draft(), make_admin("bob")
    client.force_login(study.owner)
    address = reverse("console:members", args=[study.pk])
    assert client.post(address, {"username": " bob ", "role": "viewer"}).status_code == 302
    member = Membership.objects.get(study=study, user=bob)
    change = reverse("console:change_member", args=[study.pk, member.pk])
    client.post(change, {"role": "collaborator"})
    client.post(change, {"role": "collaborator"})  # a second press changes nothing
    assert role_in(study_of(bob, study.pk)) == "collaborator"
    assert "Remove bob" in client.get(address).content.decode()
    client.post(change, {"remove": "1"})
    assert client.post(change, {"remove": "1"}).status_code == 404
    assert not studies_of(bob).exists()
    events = AuditEvent.objects.filter(study=study).order_by("at").values_list("action", "actor__username")
    assert list(events)[1:] == [(what, study.owner.username) for what in ("member added", "role changed",
                                                                            "member removed")]  # fmt: skip


@pytest.mark.parametrize(
    ("username", "role", "said"),
    [
        ("nobody", "viewer", "there is no account “nobody”"),
        ("owner-of-shapes", "viewer", "owns “Shapes”"),
        ("bob", "owner", "a role is collaborator or viewer"),
    ],
)
def test_a_role_that_cannot_be_given_is_named(username: str, role: str, said: str) -> None:
    study = make_draft()
    make_admin("bob")
    with pytest.raises(MemberError, match=said):
        set_role(study, username, role)
    assert not Membership.objects.exists()


def test_a_refused_name_stays_in_the_form(client: Client) -> None:
    study = make_draft()
    client.force_login(study.owner)
    response = client.post(reverse("console:members", args=[study.pk]), {"username": "nobody", "role": "viewer"})
    assert response.status_code == 400
    page = response.content.decode()
    assert "there is no account “nobody”" in page
    assert 'value="nobody"' in page


def test_a_viewer_s_page_offers_nothing_that_is_refused_and_no_link(client: Client) -> None:
    study = make_ready_study()
    client.force_login(make_member(study, "viewer"))
    page = client.get(reverse("console:study", args=[study.pk])).content.decode()
    story = page[page.index("<main") :]
    posted = re.findall(r'<form method="post" action="([^"]+)"', story)
    read = [reverse(f"console:{name}", args=[study.pk]) for name in ("preview", "bundle")]
    assert set(posted) <= set(read)
    assert "/j/" not in story
    assert reverse("console:members", args=[study.pk]) in story


def test_an_account_needs_the_permission_to_plan_a_study(client: Client) -> None:
    study = make_draft()
    viewer = make_member(study, "viewer")
    client.force_login(viewer)
    for name in ("new_study", "pictures"):
        assert client.get(reverse(f"console:{name}")).status_code == 403
    assert client.post(reverse("console:copy", args=[study.pk]), {"name": "Mine"}).status_code == 403
    viewer.user_permissions.add(Permission.objects.get(codename="add_study"))
    assert client.post(reverse("console:copy", args=[study.pk]), {"name": "Mine"}).status_code == 302
    assert Study.objects.get(name="Mine").owner == viewer


def test_a_prompt_set_is_seen_by_its_importer_and_those_who_work_with_it(tmp_path: Path, client: Client) -> None:
    ada, bob = make_admin("ada"), make_admin("bob")
    (tmp_path / "p.txt").write_text("a gate\na mug\n")
    own = import_file(tmp_path / "p.txt", name="Own", creator=ada)
    everybodys = import_file(tmp_path / "p.txt", name="Everybody’s")
    assert set(prompt_sets_of(ada)) == {own, everybodys}
    assert set(prompt_sets_of(bob)) == {everybodys}
    address = reverse("console:prompt_set", args=[own.pk])
    client.force_login(bob)
    assert client.get(address).status_code == 404
    study = make_draft(owner=ada)
    Study.objects.filter(pk=study.pk).update(prompt_set=own)
    viewer = make_member(study, "viewer")
    assert own not in prompt_sets_of(bob)
    assert own in prompt_sets_of(viewer)
    share = reverse("console:share_prompt_set", args=[own.pk])
    client.force_login(viewer)
    assert client.post(share, {"shared": "1"}).status_code == 403
    client.force_login(ada)
    client.post(share, {"shared": "1"})
    assert own in prompt_sets_of(bob)


def test_tried_settings_are_seen_by_those_who_work_together_on_the_set() -> None:
    study, stranger = make_draft(), make_admin("stranger")
    prompts = study.prompt_set
    collaborator, viewer = make_member(study, "collaborator"), make_member(study, "viewer")
    run = sampling_runs.start(prompts, small_configuration(), creator=collaborator)
    strangers = sampling_runs.start(prompts, small_configuration(seed=3), creator=stranger)
    assert list(runs_of(viewer, prompts)) == list(runs_of(study.owner, prompts)) == [run]
    assert list(runs_of(stranger, prompts)) == [strangers]


def test_a_foreign_study_with_the_same_recipe_shows_its_pictures_to_nobody_else() -> None:
    mine, theirs = make_ready_study(name="Mine"), make_ready_study(name="Theirs")
    assert mine.recipe == theirs.recipe
    own = Image.objects.filter(prompt__prompt_set=mine.prompt_set).first()
    foreign = Image.objects.filter(prompt__prompt_set=theirs.prompt_set).first()
    assert own is not None
    assert foreign is not None
    assert image_of(mine.owner, own.pk) == own
    assert image_of(make_member(mine, "viewer"), own.pk) == own
    with pytest.raises(Http404):
        image_of(mine.owner, foreign.pk)
    # a baseline picture that is in no pair yet, of a prompt of the subset: an example
    arm = mine.comparisons.get(position=0).baseline
    outside = mine.prompt_set.prompts.order_by("-index").first()
    assert outside is not None
    assert mine.recipe is not None
    drawn = drawn_image(outside, arm, mine.recipe)
    with pytest.raises(Http404):
        image_of(mine.owner, drawn.pk)
    assert mine.subset is not None
    mine.subset.members.create(prompt=outside, clip_score=0.2)
    assert image_of(mine.owner, drawn.pk) == drawn
