"""Define the form field for a text of several lines."""

from __future__ import annotations

from typing import Any

from django import forms

LINES = {"rows": 5}


class TextField(forms.CharField):
    """A text of several lines. Browsers send line ends as CR LF; they are stored as LF, and are not a change."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)

    def to_python(self, value: Any) -> Any:
        """Return the text with plain line ends."""
        return (super().to_python(value) or "").replace("\r\n", "\n")

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether the text differs by more than its line ends."""
        return super().has_changed(initial, self.to_python(data))
