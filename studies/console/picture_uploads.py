"""Receive pictures that an admin uploads, and serve them small until they are taken or discarded."""

from __future__ import annotations

import io
from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_GET
from PIL import Image

from evenhand.errors import InputError
from evenhand.studies.console.picture_forms import PicturesForm
from evenhand.studies.prompt_uploads import UploadError
from evenhand.studies.uploaded import holding
from evenhand.studies.uploaded.holding import Held
from evenhand.studies.uploaded.pictures import pixels_of

BODY_MARGIN = 100_000  # bytes of a form around its files
SMALL = 320  # pixels of an example's longer side

Show = Callable[[PicturesForm, int], HttpResponse]  # the form, the status
Then = Callable[[Held], HttpResponse]


def user_of(request: HttpRequest) -> AbstractBaseUser:
    """Return the admin who asks."""
    assert isinstance(request.user, AbstractBaseUser)
    return request.user


def receive(request: HttpRequest, show: Show, then: Then) -> HttpResponse:
    """Keep uploaded pictures and go on by ``then``, or show the form with what was wrong.

    The view is exempt from the check of the form's token, which is made here, after that of the length: reading the
    form would first store the whole body.
    """
    length = request.META.get("CONTENT_LENGTH") or "0"
    if request.method == "POST" and (not length.isdecimal() or int(length) > holding.SIZE_LIMIT + BODY_MARGIN):
        limit = f"{holding.SIZE_LIMIT:,}"
        messages.error(request, f"The files have more than {limit} bytes; use manage.py import_pictures.")
        return show(PicturesForm(), 413)
    checked: HttpResponse = csrf_protect(_keep)(request, show, then)
    return checked


def _keep(request: HttpRequest, show: Show, then: Then) -> HttpResponse:
    sent = request.method == "POST"
    form = PicturesForm(request.POST if sent else None, request.FILES if sent else None)
    if sent and form.is_valid():
        try:
            folder = form.cleaned_data.get("folder", "").strip()
            held = holding.keep(form.cleaned_data["pictures"], user_of(request).pk, server_folder=folder)
        except InputError as error:
            form.add_error("pictures", str(error))
        else:
            return then(held)
    return show(form, 400 if form.errors else 200)


def held_by(request: HttpRequest, token: str) -> Held | None:
    """Return the kept pictures, or None after a message that they are gone."""
    try:
        return holding.find(token, user_of(request).pk)
    except UploadError as error:
        text = str(error)
        messages.error(request, f"{text[0].upper()}{text[1:]}.")
        return None


@login_required
@require_GET
def example(request: HttpRequest, token: str, number: int) -> HttpResponse:
    """Serve a kept picture, made anew and small."""
    held = held_by(request, token)
    paths = [] if held is None else list(held.collection.pictures.values())
    if number >= len(paths):
        raise Http404("there is no such picture")
    try:
        image = Image.fromarray(pixels_of(paths[number]))
    except InputError as error:
        raise Http404(str(error)) from error
    image.thumbnail((SMALL, SMALL))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return HttpResponse(buffer.getvalue(), content_type="image/png", headers={"Cache-Control": "private, max-age=3600"})
