"""Serve the list of prompt sets, and the way of a file into one: upload, preview, import; delete a set."""

from __future__ import annotations

from pathlib import Path

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from evenhand.errors import InputError
from evenhand.sampling.encodings import GUESS
from evenhand.sampling.inspection import Inspection, inspect
from evenhand.sampling.reading import EncodingError
from evenhand.studies import prompt_uploads
from evenhand.studies.access import check_may_plan, may_plan
from evenhand.studies.console.prompt_forms import PromptFileForm, ReadingForm, SetNameForm
from evenhand.studies.prompt_deletion import delete_prompt_set
from evenhand.studies.prompt_import import import_file
from evenhand.studies.prompt_lengths import Checkpoint, TokenLengths, checkpoints_at_hand
from evenhand.studies.prompt_reading import sentences
from evenhand.studies.prompt_uploads import Upload, UploadError
from evenhand.studies.visibility import check_may_change, prompt_sets_of

BODY_MARGIN = 100_000  # bytes of a form around its file


@csrf_exempt  # the token is checked below, after the length: reading the form would first store the whole body
@login_required
@require_http_methods(["GET", "POST"])
def prompt_sets(request: HttpRequest) -> HttpResponse:
    """List the prompt sets, with a form that uploads a file."""
    if request.method == "POST":
        check_may_plan(request.user)
    length = request.META.get("CONTENT_LENGTH") or "0"
    if request.method == "POST" and (not length.isdecimal() or int(length) > prompt_uploads.SIZE_LIMIT + BODY_MARGIN):
        limit = f"{prompt_uploads.SIZE_LIMIT:,}"
        messages.error(request, f"The file has more than {limit} bytes; import it with manage.py import_prompts.")
        return _list(request, PromptFileForm(), status=413)
    return _upload(request)


@csrf_protect
def _upload(request: HttpRequest) -> HttpResponse:
    form = PromptFileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            upload = prompt_uploads.keep(form.cleaned_data["file"], _owner(request).pk)
        except InputError as error:
            form.add_error("file", str(error))
        else:
            return redirect("console:prompt_preview", token=upload.token)
    return _list(request, form, status=400 if form.errors else 200)


def _list(request: HttpRequest, form: PromptFileForm, status: int) -> HttpResponse:
    context = {
        "prompt_sets": prompt_sets_of(request.user),
        "form": form if may_plan(request.user) else None,
        "section": "prompts",
    }
    return render(request, "console/prompt_sets.html", context, status=status)


def _owner(request: HttpRequest) -> AbstractBaseUser:
    assert isinstance(request.user, AbstractBaseUser)
    return request.user


# ------------------------------------------------------------------------------ preview and import


@login_required
@require_GET
def preview(request: HttpRequest, token: str) -> HttpResponse:
    """Show how an uploaded file is read; the address's query holds the choices. Nothing is stored."""
    try:
        upload = prompt_uploads.find(token, _owner(request).pk)
    except UploadError as error:
        return _gone(request, error)
    return _preview(request, upload, SetNameForm(initial={"name": Path(upload.name).stem[:100]}))


def _gone(request: HttpRequest, error: UploadError) -> HttpResponse:
    text = str(error)
    messages.error(request, f"{text[0].upper()}{text[1:]}.")
    return redirect("console:prompt_sets")


def _preview(request: HttpRequest, upload: Upload, name_form: SetNameForm, status: int = 200) -> HttpResponse:
    checkpoints = checkpoints_at_hand()
    form = _reading_form(request, upload, checkpoints)
    if not form.is_valid():
        context = {"upload": upload, "form": form, "section": "prompts"}
        return render(request, "console/prompt_preview.html", context, status=400)
    result, lengths = _inspected(upload, form, checkpoints)
    if isinstance(result.error, EncodingError) and not form.cleaned_data.get("encoding"):
        address = reverse("console:prompt_preview", args=[upload.token])
        return redirect(f"{address}?{form.query(encoding=GUESS, guessed='on')}")
    form.offer_columns(result)
    context = {
        "section": "prompts",
        "upload": upload,
        "form": form,
        "name_form": name_form,
        "result": result,
        "lengths": lengths,
        "error": _named(str(result.error), upload) if result.error else "",
        "sentences": sentences(result.found) if result.found else [],
        "guessed": "guessed" in request.GET and form.cleaned_data.get("encoding") == GUESS,
        "query": form.query(),
        "left": _left(result, lengths, form.cleaned_data["skip_cut_by"]),
    }
    return render(request, "console/prompt_preview.html", context, status=status)


def _reading_form(request: HttpRequest, upload: Upload, checkpoints: list[Checkpoint]) -> ReadingForm:
    names = [each.name for each in checkpoints]
    return ReadingForm(request.GET, ending=upload.path.suffix.lower(), checkpoints=names)


def _inspected(
    upload: Upload, form: ReadingForm, checkpoints: list[Checkpoint]
) -> tuple[Inspection, list[TokenLengths]]:
    """Read the file once, and count its prompts' tokens on the way."""
    lengths = [TokenLengths(each.name, each.counter.limit) for each in checkpoints]

    def count(texts: list[str]) -> None:
        for each, checkpoint in zip(lengths, checkpoints, strict=True):
            each.add(texts, checkpoint.counter.lengths(texts))

    return inspect(upload.path, form.reading(), count), lengths


def _left(result: Inspection, lengths: list[TokenLengths], skipped_by: list[str]) -> int | None:
    """Return how many prompts would be imported; None where several checkpoints cut, of which some may be the same."""
    cuts = [each.cut for each in lengths if each.checkpoint in skipped_by]
    return None if len(cuts) > 1 and any(cuts) else result.count - sum(cuts)


@login_required
@require_POST
def store(request: HttpRequest, token: str) -> HttpResponse:
    """Import an uploaded file as its preview showed it: the query is the preview's."""
    check_may_plan(request.user)
    try:
        upload = prompt_uploads.find(token, _owner(request).pk)
    except UploadError as error:
        return _gone(request, error)
    name_form = SetNameForm(request.POST)
    checkpoints = checkpoints_at_hand()
    form = _reading_form(request, upload, checkpoints)
    if not form.is_valid() or not name_form.is_valid():
        return _preview(request, upload, name_form, status=400)
    skipped_by = form.cleaned_data["skip_cut_by"]
    try:
        prompt_set = import_file(
            upload.path,
            name=name_form.cleaned_data["name"],
            reading=form.reading(),
            source=upload.name,
            counters=[each.counter for each in checkpoints if each.name in skipped_by],
            creator=_owner(request),
        )
    except InputError as error:
        name_form.add_error("name", _named(str(error), upload))
        return _preview(request, upload, name_form, status=400)
    prompt_uploads.remove(upload)
    messages.success(request, f"Imported {prompt_set.count:,} prompts as “{prompt_set}”.")
    return redirect("console:prompt_set", pk=prompt_set.pk)


@login_required
@require_POST
def discard(request: HttpRequest, token: str) -> HttpResponse:
    """Remove an uploaded file without importing it."""
    try:
        upload = prompt_uploads.find(token, _owner(request).pk)
    except UploadError as error:
        return _gone(request, error)
    prompt_uploads.remove(upload)
    messages.success(request, f"“{upload.name}” is removed; nothing was imported.")
    return redirect("console:prompt_sets")


def _named(text: str, upload: Upload) -> str:
    """Return an error with the file's own name in place of where it lies."""
    return text.replace(str(upload.path), upload.name)


# ------------------------------------------------------------------------------ sharing and deletion


@login_required
@require_POST
def share(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a prompt set to every account, or again only to those who work with it."""
    prompt_set = get_object_or_404(prompt_sets_of(request.user), pk=pk)
    check_may_change(request.user, prompt_set)
    prompt_set.shared = request.POST.get("shared") == "1"
    prompt_set.save(update_fields=["shared"])
    return redirect("console:prompt_set", pk=pk)


@login_required
@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a prompt set that no study uses, where its name was typed."""
    prompt_set = get_object_or_404(prompt_sets_of(request.user), pk=pk)
    check_may_change(request.user, prompt_set)
    if request.POST.get("name") != prompt_set.name:
        messages.error(request, "To delete the prompt set, type its name exactly. Nothing was changed.")
        return redirect("console:prompt_set", pk=pk)
    try:
        delete_prompt_set(prompt_set, actor=_owner(request))
    except InputError as error:
        messages.error(request, str(error))
        return redirect("console:prompt_set", pk=pk)
    messages.success(request, f"“{prompt_set.name}” is deleted.")
    return redirect("console:prompt_sets")
