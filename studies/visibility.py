"""Decide who sees prompt sets, settings tried on them, and pictures: by the studies in which a user has a role.

A prompt set is seen by whoever imported it, by everybody with a role in a study that uses it, and by all where it was
shared or imported by a command. Settings tried on it are seen by who tried them and by those who work with that person
in a study of this set. A picture is seen by those with a role in a study that shows it.
"""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404

from evenhand.studies.access import may_plan, studies_of
from evenhand.studies.arms import arms_of
from evenhand.studies.models import CheckPair, Image, Membership, Pair, PromptSet, SamplingRun

Viewer = AbstractBaseUser | AnonymousUser


def prompt_sets_of(user: Viewer) -> QuerySet[PromptSet]:
    """Return the prompt sets that a user sees."""
    if getattr(user, "is_superuser", False):
        return PromptSet.objects.all()
    used = studies_of(user).values("prompt_set")
    return PromptSet.objects.filter(Q(shared=True) | Q(creator=None) | Q(creator=user.pk) | Q(pk__in=used))


def may_change(user: Viewer, prompt_set: PromptSet) -> bool:
    """Whether a user may share and delete a set: its creator, and a superuser.

    One that a command imported is everybody's who may create studies.
    """
    is_superuser: bool = getattr(user, "is_superuser", False)
    return is_superuser or (may_plan(user) and prompt_set.creator_id in (None, user.pk))


def check_may_change(user: Viewer, prompt_set: PromptSet) -> None:
    """Raise ``PermissionDenied`` unless ``may_change``."""
    if may_change(user, prompt_set):
        return
    raise PermissionDenied(f"“{prompt_set.name}” is for whoever imported it to change")


def runs_of(user: Viewer, prompt_set: PromptSet) -> QuerySet[SamplingRun]:
    """Return the sampling runs on a prompt set that a user sees."""
    runs = SamplingRun.objects.filter(prompt_set=prompt_set)
    if getattr(user, "is_superuser", False):
        return runs
    common = studies_of(user).filter(prompt_set=prompt_set)
    members = Membership.objects.filter(study__in=common).values("user")
    seen = Q(creator=None) | Q(creator=user.pk) | Q(creator__in=common.values("owner")) | Q(creator__in=members)
    return runs.filter(seen)


def image_of(user: Viewer, pk: int) -> Image:
    """Return a finished picture that a study of the user shows; ``Http404`` for any other.

    A study shows the pictures of its pairs and check pairs, and of its subset's prompts those of its own arms.
    """
    image = get_object_or_404(Image.objects.select_related("arm"), pk=pk, state=Image.State.DONE)
    studies = studies_of(user)
    pairs = Pair.objects.filter(Q(baseline_image=image) | Q(candidate_image=image), comparison__study__in=studies)
    checks = CheckPair.objects.filter(Q(better=image) | Q(worse=image), study__in=studies)
    if pairs.exists() or checks.exists():
        return image
    drawn = studies.filter(recipe=image.recipe_id, subset__members__prompt=image.prompt_id)
    if image.recipe_id is not None and any(
        image.arm in arms_of(study) for study in drawn.select_related("current_version")
    ):
        return image
    raise Http404(f"there is no picture {pk}")
