"""Show who works on a study, and let its owner give and take roles."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from evenhand.errors import InputError
from evenhand.studies.access import Right, check_right, study_of
from evenhand.studies.members import remove_member, set_role
from evenhand.studies.models import Membership


class MemberForm(forms.Form):
    """An account and its role."""

    username = forms.CharField(max_length=150, label="Username")
    role = forms.ChoiceField(choices=Membership.Role.choices, label="Role", initial=Membership.Role.VIEWER)


@login_required
@require_http_methods(["GET", "POST"])
def members(request: HttpRequest, pk: int) -> HttpResponse:
    """List who has a role in a study; a POST of the owner gives somebody one."""
    study = study_of(request.user, pk, Right.READ)
    form = MemberForm(request.POST or None)
    if request.method == "POST":
        check_right(study, Right.OWN)
        if form.is_valid():
            assert isinstance(request.user, AbstractBaseUser)
            try:
                member = set_role(study, **form.cleaned_data, actor=request.user)
            except InputError as error:
                form.add_error("username", str(error))
            else:
                messages.success(request, f"{member.user} is {member.role} of “{study.name}”.")
                return redirect("console:members", pk=pk)
    context = {
        "study": study,
        "form": form,
        "members": study.memberships.select_related("user").order_by("user__username"),
        "roles": Membership.Role.choices,
    }
    return render(request, "console/members.html", context, status=400 if form.errors else 200)


@login_required
@require_POST
def change(request: HttpRequest, pk: int, member: int) -> HttpResponse:
    """Give a member another role, or take it back; for the owner."""
    study = study_of(request.user, pk, Right.OWN)
    found = get_object_or_404(study.memberships.select_related("user", "study"), pk=member)
    assert isinstance(request.user, AbstractBaseUser)
    try:
        if request.POST.get("remove"):
            remove_member(found, actor=request.user)
            messages.success(request, f"{found.user} has no role in “{study.name}” any more.")
        else:
            set_role(study, found.user.get_username(), request.POST.get("role", ""), actor=request.user)
    except InputError as error:
        messages.error(request, str(error))
    return redirect("console:members", pk=pk)
