"""Forms that notice when somebody else has changed what they show."""

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
    """A form that carries which version of the stored values it was made from."""

    read_as = forms.CharField(widget=forms.HiddenInput)

    def conflicts_with(self, stored: ConcurrentEditForm) -> list[Conflict]:
        """The fields in which this form differs from ``stored``, an unbound form of what is stored now.

        Saving this form again replaces what is stored now: it carries that version from here on.
        """
        self.data = self.data.copy()  # type: ignore[union-attr]
        self.data["read_as"] = stored.initial["read_as"]
        return [
            Conflict(str(self[name].label), self[name].value(), stored[name].value())
            for name, field in self.fields.items()
            if name != "read_as" and field.has_changed(stored[name].value(), self[name].data)
        ]
