"""Detect that somebody else has changed a record since a form showed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms


@dataclass(frozen=True)
class Conflict:
    """A field whose value in the form is not the stored one."""

    label: str
    yours: Any
    stored: Any


class ConcurrentEditForm(forms.Form):
    """A form whose hidden field ``read_as`` names the version of the stored values that it was made from."""

    def conflicts_with(self, stored_form: ConcurrentEditForm) -> list[Conflict]:
        """Return the fields in which this form differs from ``stored_form``, an unbound form of the stored values.

        From now on this form names the version of ``stored_form``, so that saving it again replaces the stored values.
        """
        self.data = {**{name: self[name].data for name in self.fields}, "read_as": stored_form.initial["read_as"]}
        return [
            Conflict(str(self[name].label), self[name].value(), stored_form[name].value())
            for name, field in self.fields.items()
            if name != "read_as" and field.has_changed(stored_form[name].value(), self[name].data)
        ]
