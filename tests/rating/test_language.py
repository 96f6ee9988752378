"""The evaluator's pages in other languages: from the link, then the browser; right to left with a pseudo-locale."""

from __future__ import annotations

import re
from pathlib import Path

import polib
import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import translation

from evenhand.studies.access import enrolment_link
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.procedure import DEFAULT_CONSENT
from evenhand.studies.rating.enrolment import consent
from evenhand.studies.rating.statement import statement_of
from tests.helpers.pseudo_locale import pseudo  # noqa: F401  (a fixture)
from tests.helpers.visitors import Visitor

CATALOGUE = Path(django_settings.BASE_DIR) / "locale" / "de" / "LC_MESSAGES" / "django.po"


def test_every_message_is_translated_and_keeps_its_placeholders() -> None:
    po = polib.pofile(str(CATALOGUE))
    assert len(po) > 80
    assert [entry.msgid for entry in po.untranslated_entries() + po.fuzzy_entries()] == []
    pattern = re.compile(r"%\(\w+\)s|\{\w+\}")
    for entry in po:
        for text in [entry.msgstr, *entry.msgstr_plural.values()]:
            if text:
                assert set(pattern.findall(text)) == set(pattern.findall(entry.msgid)), entry.msgid


def test_the_compiled_catalogue_is_the_written_one() -> None:
    compiled = polib.mofile(str(CATALOGUE.with_suffix(".mo")))
    written = {entry.msgid: (entry.msgstr, entry.msgstr_plural) for entry in polib.pofile(str(CATALOGUE))}
    assert {entry.msgid: (entry.msgstr, entry.msgstr_plural) for entry in compiled} == written


def test_every_word_of_the_evaluators_templates_is_in_the_catalogue() -> None:
    known = {entry.msgid for entry in polib.pofile(str(CATALOGUE))}
    folder = Path(django_settings.BASE_DIR) / "templates" / "rating"
    texts = "".join(path.read_text() for path in sorted(folder.glob("*.html")))
    marked = {a or b for a, b in re.findall(r"""{% translate (?:"([^"]+)"|'([^']+)') %}""", texts)}
    assert marked - known == set()
    texts = re.sub(r"{% block html_class %}.*?{% endblock %}", "", texts)
    bare = re.sub(
        r"{%.*?%}|{{.*?}}|{#.*?#}|<[^>]+>", " ", re.sub(r"{% blocktranslate.*?endblocktranslate %}", " ", texts)
    )
    assert re.findall(r"[A-Za-z]{4,}", bare) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "accept", "heading"),
    [
        ("", "", "Comparing pictures"),
        ("", "de-AT,de;q=0.9,en;q=0.8", "Bilder vergleichen"),
        ("?lang=en", "de", "Comparing pictures"),
        ("?lang=de", "en", "Bilder vergleichen"),
        ("?lang=tlh", "de", "Bilder vergleichen"),
    ],
)
def test_the_link_goes_before_the_browser(
    client: Client, grace: Evaluator, query: str, accept: str, heading: str
) -> None:
    page = client.get(Visitor(client, grace).path + query, headers={"Accept-Language": accept}).content.decode()
    assert f"<h1>{heading}</h1>" in page
    assert f'lang="{"de" if heading.startswith("B") else "en"}"' in page


@pytest.mark.django_db
def test_consent_keeps_its_language_and_the_hash_of_the_text_that_was_read(client: Client, grace: Evaluator) -> None:
    visitor = Visitor(client, grace)
    client.post(f"{visitor.path}consent/", {"agree": "1", "lang": "de"})
    grace.refresh_from_db()
    with translation.override("de"):
        shown = statement_of(grace, configuration_of(grace.study))
    assert shown.text != DEFAULT_CONSENT
    assert grace.language == "de"
    assert grace.consent_text_sha256 == shown.sha256
    page = client.get(visitor.path, headers={"Accept-Language": "en"}).content.decode()
    assert "Links ist viel besser" in page


@pytest.mark.django_db
def test_the_language_of_an_open_link_goes_on(client: Client, study: Study) -> None:
    response = client.post(enrolment_link(study) + "?lang=de", {"lang": "de"})
    assert response.headers["Location"].endswith("?lang=de")


@pytest.mark.django_db
def test_the_console_speaks_english_to_every_browser(client: Client) -> None:
    page = client.get("/console/login/", headers={"Accept-Language": "de"}).content.decode()
    assert 'lang="en"' in page
    assert "Log in" in page


@pytest.mark.django_db
@pytest.mark.usefixtures("pseudo")
def test_right_to_left_turns_the_words_and_never_the_pictures(client: Client, grace: Evaluator) -> None:
    consent(grace, language="ar")
    page = client.get(Visitor(client, grace).path).content.decode()
    assert 'lang="ar" dir="rtl"' in page
    assert '<div class="show" dir="ltr">' in page
    assert '<div class="scale-row" dir="ltr">' in page
    choices = re.findall(
        r'name="choice" value="(-?\d)".*?<span class="by-side" dir="auto">\s*⟦([^⟧]+)⟧', page, re.DOTALL
    )
    assert [choice for choice, _ in choices] == ["-2", "-1", "0", "1", "2"]
    assert choices[0][1] == "Left is much better"
