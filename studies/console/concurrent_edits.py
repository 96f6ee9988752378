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
            Conflict(str(self[name].label), _shown(self[name]), _shown(stored_form[name]))
            for name, field in self.fields.items()
            if name != "read_as"
            and name in stored_form.fields
            and field.has_changed(stored_form[name].value(), self[name].data)
        ]


def _shown(field: forms.BoundField) -> Any:
    """Return a field's value as the page shows it: a choice by its label."""
    value = field.value()
    if not isinstance(field.field, forms.ChoiceField):
        return value
    choices: Any = field.field.choices
    return {str(key): label for key, label in choices}.get(str(value), value)
