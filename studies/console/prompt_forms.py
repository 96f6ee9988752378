"""Define the forms of an uploaded prompt file: the file, how it is read, and the name of its set."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.files.uploadedfile import UploadedFile

from evenhand.sampling.encodings import ENCODINGS
from evenhand.sampling.inspection import Inspection
from evenhand.sampling.prompts import ENDINGS
from evenhand.sampling.reading import NO_SEPARATOR, PROMPT_LIMIT, ColumnError, Reading, printable
from evenhand.studies.models import PromptSet
from evenhand.studies.prompt_uploads import ROW_LIMIT

TEXTS = (".csv", ".tsv", ".tab", ".txt", ".text", ".jsonl", ".ndjson", ".json", "")
TABLES = (".csv", ".tsv", ".tab")
_FOUND_OUT = ("", "Find out")
_ANSWERS = {"yes": True, "no": False}


class PromptFileForm(forms.Form):
    """A prompt file to upload."""

    file = forms.FileField(
        help_text="A table (CSV, TSV, Excel, Parquet), JSON (COCO’s captions too), JSON lines, plain text with one "
        "prompt a line, or a ZIP archive of one text a file. Nothing is stored before you have seen how it is read."
    )

    def clean_file(self) -> UploadedFile:
        """Refuse a file whose ending is none that is read."""
        file: UploadedFile = self.cleaned_data["file"]
        ending = Path(file.name or "").suffix.lower()
        if ending not in ENDINGS:
            known = ", ".join(filter(None, ENDINGS))
            shown = printable(ending, 20)
            raise forms.ValidationError(f"The ending “{shown}” is none that is read; those are {known}.")
        return file


class ReadingForm(forms.Form):
    """How an uploaded file is read. The address of its preview holds the choices."""

    encoding = forms.ChoiceField(
        required=False, choices=[_FOUND_OUT, *((name, title) for name, (title, _) in ENCODINGS.items())]
    )
    separator = forms.ChoiceField(
        required=False,
        choices=[
            _FOUND_OUT,
            ("comma", "Commas"),
            ("semicolon", "Semicolons"),
            ("tab", "Tabs"),
            (NO_SEPARATOR, "None: every line is a prompt"),
        ],
    )
    quoting = forms.ChoiceField(
        required=False,
        label="Quotation marks",
        choices=[_FOUND_OUT, ("yes", "Enclose fields"), ("no", "Belong to the prompts")],
    )
    header = forms.ChoiceField(
        required=False,
        label="First row",
        choices=[_FOUND_OUT, ("yes", "Names the columns"), ("no", "Is a prompt")],
    )
    column = forms.CharField(required=False, max_length=1000, label="Column of the prompts")
    limit = forms.IntegerField(
        required=False, min_value=1, max_value=10**9, label="Only the first", help_text="The paper’s: 30,000 of COCO’s."
    )
    skip_empty = forms.BooleanField(required=False, label="Leave out rows without a prompt")
    skip_long = forms.BooleanField(required=False, label=f"Leave out prompts of more than {PROMPT_LIMIT:,} characters")
    ignore_ids = forms.BooleanField(required=False, label="Ignore the file’s ids")
    ignore_seeds = forms.BooleanField(required=False, label="Ignore the file’s seeds")
    skip_cut_by = forms.MultipleChoiceField(
        required=False, label="Leave out prompts that are cut by", widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, ending: str, checkpoints: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["skip_cut_by"].choices = [(name, name) for name in checkpoints]  # type: ignore[attr-defined]
        unused = {"encoding"} if ending not in TEXTS else set()
        if ending not in TABLES:
            unused |= {"separator", "quoting"}
        if ending not in {*TABLES, ".xlsx"}:
            unused.add("header")
        if ending in {".txt", ".text", "", ".zip"}:
            unused |= {"column", "ignore_seeds"}
        for name in unused:
            del self.fields[name]

    def offer_columns(self, inspection: Inspection) -> None:
        """Offer the file's columns as a list, once they are known."""
        error = inspection.error
        columns = (
            error.columns if isinstance(error, ColumnError) else inspection.found.columns if inspection.found else ()
        )
        if "column" in self.fields and columns:
            choices = [_FOUND_OUT, *((name, printable(name, 60)) for name in dict.fromkeys(columns) if name)]
            self.fields["column"].widget = forms.Select(choices=choices)

    def reading(self) -> Reading:
        """Return the choices of a valid form."""
        given = self.cleaned_data
        return Reading(
            encoding=given.get("encoding") or None,
            separator=given.get("separator") or None,
            quoting=_ANSWERS.get(given.get("quoting", "")),
            header=_ANSWERS.get(given.get("header", "")),
            column=given.get("column") or None,
            skip_empty=given["skip_empty"],
            skip_long=given["skip_long"],
            ignore_ids=given["ignore_ids"],
            ignore_seeds=given.get("ignore_seeds", False),
            limit=given.get("limit"),
            most=ROW_LIMIT,
        )

    def query(self, **changes: str) -> str:
        """Return the address's query that holds the choices of a valid form."""
        values = {name: "on" if value is True else value for name, value in self.cleaned_data.items() if value}
        return urlencode(values | changes, doseq=True)


class SetNameForm(forms.Form):
    """The name of a new prompt set."""

    name = forms.CharField(max_length=PromptSet._meta.get_field("name").max_length, label="Name of the prompt set")
