"""What a browser sends when a person submits a form as it was served."""

from __future__ import annotations

from html.parser import HTMLParser


class _Fields(HTMLParser):
    """The values of a page's controls, line ends as a browser sends them."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._textarea: str | None = None
        self._select: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name")
        if tag == "input" and name:
            if given.get("type") in ("checkbox", "radio"):
                if "checked" in given:
                    self.values[name] = given.get("value") or "on"
            elif given.get("type") != "submit":
                self.values[name] = given.get("value") or ""
        elif tag == "textarea" and name:
            self._textarea, self.values[name] = name, ""
        elif tag == "select" and name:
            self._select = name
        elif tag == "option" and self._select and ("selected" in given or self._select not in self.values):
            self.values[self._select] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._textarea:
            text = self.values[self._textarea].removeprefix("\r\n").removeprefix("\n")
            self.values[self._textarea] = text.replace("\r\n", "\n").replace("\n", "\r\n")
            self._textarea = None
        elif tag == "select":
            self._select = None

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.values[self._textarea] += data


def values_of(page: str) -> dict[str, str]:
    """The fields of all forms of a page, as a browser would send them."""
    fields = _Fields()
    fields.feed(page)
    fields.values.pop("csrfmiddlewaretoken", None)
    return fields.values
