"""Let a user make and revoke the tokens by which programs read the API for them."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from evenhand.errors import InputError
from evenhand.studies.audit_in_words import OF_ACCOUNTS, sentence_of
from evenhand.studies.models import ApiToken, AuditEvent
from evenhand.studies.tokens import make_token, revoke_token

EVENTS_SHOWN = 20


class TokenForm(forms.Form):
    """A token's name, and its last day."""

    name = forms.CharField(
        max_length=ApiToken._meta.get_field("name").max_length,
        label="Name",
        help_text="Where you use it: notebook, dashboard.",
    )
    expires_on = forms.DateField(
        required=False,
        label="Last day",
        help_text="UTC. Empty: until you revoke it.",
        widget=forms.DateInput(attrs={"type": "date"}),
    )


@login_required
@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """List one's own tokens; a POST makes one and shows its text this once."""
    assert isinstance(request.user, AbstractBaseUser)
    form, text = TokenForm(request.POST or None), ""
    if request.method == "POST" and form.is_valid():
        try:
            _, text = make_token(request.user, **form.cleaned_data)
        except InputError as error:
            form.add_error(None, str(error))
        else:
            form = TokenForm()
    events = AuditEvent.objects.filter(study=None, actor=request.user.pk, action__in=OF_ACCOUNTS).order_by("-at")
    context = {
        "form": form,
        "text": text,
        "tokens": ApiToken.objects.filter(user=request.user.pk, revoked_at=None),
        "events": [(event.at, sentence_of(event)) for event in events[:EVENTS_SHOWN]],
        "section": "tokens",
        "address": request.build_absolute_uri("/api/studies"),
    }
    response = render(request, "console/tokens.html", context, status=400 if form.errors else 200)
    response["Cache-Control"] = "private, no-store"
    return response


@login_required
@require_POST
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke one of one's own tokens."""
    assert isinstance(request.user, AbstractBaseUser)
    token = get_object_or_404(ApiToken, pk=pk, user=request.user.pk)
    revoke_token(token, actor=request.user)
    messages.success(request, f"The token “{token.name}” opens nothing any more.")
    return redirect("console:tokens")
