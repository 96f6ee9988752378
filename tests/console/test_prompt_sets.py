"""The way of a prompt file into the console: upload, preview, import; a set's page; deletion."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evenhand.studies import prompt_uploads
from evenhand.studies.models import Image, Prompt, PromptSet, SamplingRun, Study
from evenhand.studies.pipeline import tasks
from evenhand.studies.prompt_import import import_texts
from evenhand.studies.work import notify
from tests.helpers.factories import make_admin, make_prompt_set, make_ready_study
from tests.helpers.stored import image_path
from tests.helpers.uploads import import_upload, preview_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_uploads(settings: Any, tmp_path: Path) -> None:
    settings.VAR = tmp_path


@pytest.fixture
def console(client: Client) -> Client:
    client.force_login(make_admin("ada"))
    return client


def text_of(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", "", response.content.decode()).split())


def uploads() -> list[Path]:
    return [path for path in (Path(settings.VAR) / "uploads").glob("*/*") if path.is_file()]


# ------------------------------------------------------------------------------ upload, preview, import


def test_nothing_is_stored_before_the_prompts_were_seen(console: Client) -> None:
    shown = preview_of(console, b"Prompts;Kind\na gate;x\na mug, empty;y\na gate;z\n", "signs.csv")
    page = text_of(shown)
    assert "separated by semicolons" in page
    assert "2 columns: Prompts, Kind" in page
    assert "3 prompts, 0 trimmed of white space, 1 that repeats an earlier one (kept), 0 with a seed" in page
    assert "a mug, empty" in page
    assert 'value="signs"' in shown.content.decode()
    assert not PromptSet.with_unfinished.exists()
    assert len(uploads()) == 1
    address = reverse("console:prompt_import", args=[shown.context["upload"].token])
    answer = console.post(f"{address}?{shown.context['query']}", {"name": "Signs"})
    made = PromptSet.objects.get()
    assert answer["Location"] == reverse("console:prompt_set", args=[made.pk])
    assert (made.name, made.source, made.count, made.duplicates) == ("Signs", "signs.csv", 3, 1)
    assert not uploads()


def test_choices_change_what_is_shown_and_what_is_imported(console: Client) -> None:
    content = b"en,fr\na gate,une porte\na mug,une tasse\n"
    asked = preview_of(console, content)
    assert "which column holds the prompts" in text_of(asked)
    assert asked.content.decode().count('<option value="fr">') == 1
    assert reverse("console:prompt_import", args=[asked.context["upload"].token]) not in asked.content.decode()
    assert "une tasse" in text_of(preview_of(console, content, column="fr"))
    import_upload(console, content, "captions.csv", "French", column="fr", limit="1")
    assert Prompt.objects.get().text == "une porte"


def test_another_encoding_is_offered_with_its_preview(console: Client) -> None:
    content = "prompt\nun café, la nuit\n“pain frais”\n".encode("cp1252")
    shown = preview_of(console, content)
    assert "The file is not UTF-8. It is read as Windows-1252" in text_of(shown)
    assert "un café, la nuit" in text_of(shown)
    import_upload(console, content, "captions.csv", "Bread")
    texts = list(Prompt.objects.order_by("index").values_list("text", flat=True))
    assert texts == ["un café, la nuit", "“pain frais”"]


@pytest.mark.parametrize(
    ("content", "choice", "told"),
    [
        (b"prompt,kind\na gate,x\n,y\n", "skip_empty", "1 row cannot be used as it is: line 3: the prompt is empty"),
        (b"prompt,seed\na gate,-1\n", "ignore_seeds", "1 row cannot be used as it is: line 2: the seed &#x27;-1&#x27;"),
        (b"prompt,id\na gate," + b"9" * 120 + b"\n", "ignore_ids", "1 row cannot be used as it is: line 2: the id"),
    ],
)
def test_rows_that_cannot_be_used_are_counted_and_left_out_on_request(
    console: Client, content: bytes, choice: str, told: str
) -> None:
    refused = preview_of(console, content)
    assert told in text_of(refused)
    assert "cannot be imported as it is read" in text_of(refused)
    address = reverse("console:prompt_import", args=[refused.context["upload"].token])
    assert console.post(address, {"name": "Gates"}).status_code == 400
    assert not PromptSet.objects.exists()
    import_upload(console, content, "captions.csv", "Gates", **{choice: "on"})
    assert [prompt.text for prompt in Prompt.objects.all()] == ["a gate"]


def test_what_a_checkpoint_would_cut_is_said_and_left_out_on_request(console: Client) -> None:
    content = ("a gate\n" + "red cube " * 90 + "\na mug\n").encode()
    shown = preview_of(console, content, "long.txt")
    assert "demo would read 1 prompt only in part" in text_of(shown)
    assert "Import 3 prompts as shown" in text_of(shown)
    assert "Import 2 prompts as shown" in text_of(preview_of(console, content, "long.txt", skip_cut_by="demo"))
    import_upload(console, content, "long.txt", "Short", skip_cut_by="demo")
    assert [prompt.text for prompt in Prompt.objects.order_by("index")] == ["a gate", "a mug"]


def test_the_first_prompts_of_cocos_annotations_are_imported(console: Client) -> None:
    entries = [{"image_id": 10 - i, "id": i, "caption": f"a dog and {i} cats"} for i in range(5)]
    content = json.dumps({"annotations": entries}).encode()
    import_upload(console, content, "captions_val2014.json", "COCO", limit="3")
    assert list(Prompt.objects.order_by("index").values_list("source_id", flat=True)) == ["10", "9", "8"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", b"PK\x03\x04abc", "p.csv: is a ZIP archive"),
        ("p.jsonl", b'{"\\ud800":"a","b":"c"}', "is no Unicode text"),
        ("p.json", b"[" * 6000, "more than 32 deep"),
        ("p.jsonl", b'{"prompt":"a","x":' + b"[" * 1200 + b"]" * 1200 + b"}", "more than 32 deep"),
        ("p.parquet", b"PAR1 hello\nPAR1\n", "is not a Parquet file that can be read"),
        ("p.csv", b"", "The submitted file is empty"),
        ("p.docx", b"a gate", "ending “.docx” is none that is read"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence_without_its_place_on_the_server(
    console: Client, name: str, content: bytes, message: str
) -> None:
    answer = console.post(reverse("console:prompt_sets"), {"file": SimpleUploadedFile(name, content)}, follow=True)
    assert message in text_of(answer)
    assert str(settings.VAR) not in answer.content.decode()
    assert not PromptSet.with_unfinished.exists()


@pytest.mark.parametrize("name", ["Taken", "", "n" * 101])
def test_a_name_that_is_no_use_keeps_the_upload(console: Client, name: str) -> None:
    import_texts(["a gate"], name="Taken", source="a list")
    answer = import_upload(console, b"a mug\n", "mugs.txt", name)
    assert answer.status_code == 400
    assert answer.context["name_form"].errors
    assert len(uploads()) == 1
    assert PromptSet.objects.count() == 1


def test_choices_that_make_no_sense_are_named(console: Client) -> None:
    shown = preview_of(console, b"a mug\n", "mugs.txt", limit="-3", encoding="klingon")
    assert shown.status_code == 400
    assert set(shown.context["form"].errors) == {"limit", "encoding"}


def test_an_upload_is_its_owners_alone_and_lasts_an_hour(console: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = preview_of(console, b"a mug\n", "mugs.txt")
    token = shown.context["upload"].token
    address = reverse("console:prompt_preview", args=[token])
    other = Client()
    other.force_login(make_admin("grace"))
    assert "no longer kept" in text_of(other.get(address, follow=True))
    assert "is over" in text_of(console.get(reverse("console:prompt_preview", args=[token[:-2] + "xx"]), follow=True))
    assert console.get(address).status_code == 200
    [file] = uploads()
    hours_ago = time.time() - 2 * prompt_uploads.LIFETIME
    os.utime(file.parent, (hours_ago, hours_ago))
    assert "no longer kept" in text_of(console.get(address, follow=True))
    assert not file.exists()


def test_a_workers_timer_removes_an_upload_that_nobody_comes_back_to(console: Client) -> None:
    preview_of(console, b"a mug\n", "mugs.txt")
    preview_of(console, b"a gate\n", "gates.txt")
    gone, kept = uploads()
    hours_ago = time.time() - 2 * prompt_uploads.LIFETIME
    os.utime(gone.parent, (hours_ago, hours_ago))
    assert tasks.notify is notify  # a worker's process has imported both
    notify.notify_where_work_waits()
    assert uploads() == [kept]


def test_an_upload_is_discarded_by_post_alone(console: Client) -> None:
    token = preview_of(console, b"a mug\n", "mugs.txt").context["upload"].token
    address = reverse("console:prompt_discard", args=[token])
    assert console.get(address).status_code == 405
    assert len(uploads()) == 1
    assert "“mugs.txt” is removed" in text_of(console.post(address, follow=True))
    assert not uploads()


def test_too_large_a_file_is_refused_before_it_is_taken(console: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_uploads, "SIZE_LIMIT", 1000)
    file = SimpleUploadedFile("mugs.txt", b"a mug\n" * 30_000)
    answer = console.post(reverse("console:prompt_sets"), {"file": file})
    assert answer.status_code == 413
    assert "more than 1,000 bytes" in text_of(answer)
    little = SimpleUploadedFile("mugs.txt", b"a mug\n" * 300)
    assert "at most 1,000 are uploaded" in text_of(console.post(reverse("console:prompt_sets"), {"file": little}))
    assert not uploads()


def test_an_upload_needs_its_token_and_a_login(client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_admin("ada"))
    file = SimpleUploadedFile("mugs.txt", b"a mug\n")
    assert strict.post(reverse("console:prompt_sets"), {"file": file}).status_code == 403
    for name, args in (("prompt_sets", []), ("prompt_preview", ["x"]), ("prompt_import", ["x"])):
        assert "login" in client.post(reverse(f"console:{name}", args=args))["Location"]


@hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(min_size=1, max_size=200),
    st.sampled_from([b"", b"PK\x03\x04", b"PAR1", b'{"prompt": ', b"prompt,seed\n", b"\xff\xfe", b"sep="]),
    st.sampled_from(["p.csv", "p.tsv", "p.txt", "p.json", "p.jsonl", "p.xlsx", "p.parquet", "p.zip", "p"]),
    st.dictionaries(
        st.sampled_from(["encoding", "separator", "quoting", "header", "column", "limit", "skip_cut_by", "skip_empty"]),
        st.one_of(
            st.text(max_size=6), st.sampled_from(["utf-16", "windows-1252", "tab", "none", "yes", "no", "1", "demo"])
        ),
        max_size=3,
    ),
)
def test_random_bytes_and_choices_never_break_a_page(
    console: Client, content: bytes, magic: bytes, name: str, choices: dict[str, str]
) -> None:
    answer = console.post(reverse("console:prompt_sets"), {"file": SimpleUploadedFile(name, magic + content)})
    assert answer.status_code == 302
    shown = console.get(answer["Location"], choices, follow=True)
    assert shown.status_code in {200, 400}
    if "query" in shown.context:
        address = reverse("console:prompt_import", args=[shown.context["upload"].token])
        stored = console.post(f"{address}?{shown.context['query']}", {"name": "Anything"})
        assert stored.status_code == (302 if PromptSet.objects.filter(name="Anything").exists() else 400)
        assert not shown.context["result"].usable or stored.status_code == 302 or choices.get("skip_cut_by") == "demo"
        Prompt.objects.all().delete()
        PromptSet.with_unfinished.all().delete()


# ------------------------------------------------------------------------------ a set's page


def test_a_sets_page_lists_its_prompts_by_pages(console: Client, django_assert_max_num_queries: Any) -> None:
    found = import_texts([f"a gate and {i} mugs" for i in range(120)], name="Gates", source="a list")
    address = reverse("console:prompt_set", args=[found.pk])
    with django_assert_max_num_queries(12):
        first = console.get(address)
    assert [prompt.index for prompt in first.context["prompts"]] == list(range(50))
    last = console.get(address, {"page": "3"})
    assert [prompt.index for prompt in last.context["prompts"]] == list(range(100, 120))
    assert [prompt.index for prompt in console.get(address, {"page": "x"}).context["prompts"]] == list(range(50))


def test_a_sets_texts_are_counted_once(console: Client, settings: Any, django_assert_max_num_queries: Any) -> None:
    memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "counted once"}
    settings.CACHES = settings.CACHES | {"default": memory}
    texts = ["a gate", "a gate", *(f"a gate and {i} mugs" for i in range(60))]
    address = reverse("console:prompt_set", args=[import_texts(texts, name="Gates", source="a list").pk])
    taken = []
    for asked in ({}, {"q": "gate"}, {"page": "2"}):
        with django_assert_max_num_queries(12) as captured:
            page = console.get(address, asked)
        assert page.context["repeated"] == [("a gate", 2)]
        taken.append(len(captured))
    assert taken[2] <= taken[0] - 2


@pytest.mark.parametrize(
    ("looked_for", "indices"),
    [
        ("gate 7", [7, 17]),
        ("GATE", list(range(20))),
        ("mugs gate 19", [19]),
        ("zebra", []),
        ("%", []),
        ("\0", list(range(20))),
    ],
)
def test_prompts_are_found_by_their_words(console: Client, looked_for: str, indices: list[int]) -> None:
    found = import_texts([f"a gate and {i} mugs" for i in range(20)], name="Gates", source="a list")
    page = console.get(reverse("console:prompt_set", args=[found.pk]), {"q": looked_for})
    assert [prompt.index for prompt in page.context["prompts"]] == indices


def test_a_sets_page_says_what_a_checkpoint_would_cut(console: Client) -> None:
    found = import_texts(["a gate", "red cube " * 90, "a mug"], name="Long", source="a list")
    page = console.get(reverse("console:prompt_set", args=[found.pk]))
    [lengths] = page.context["tokens"]
    assert (lengths.checkpoint, lengths.limit, lengths.longest, lengths.cut) == ("demo", 77, 452, 1)
    assert "Prompt 1: red cube red cube" in text_of(page)


# ------------------------------------------------------------------------------ deletion


def test_a_set_that_no_study_uses_is_deleted_with_its_pictures(console: Client) -> None:
    study = make_ready_study(owner=make_admin("grace"))
    found = study.prompt_set
    address = reverse("console:delete_prompt_set", args=[found.pk])
    assert "1 study uses these prompts" in text_of(console.get(reverse("console:prompt_set", args=[found.pk])))
    assert "is used by 1 study" in text_of(console.post(address, {"name": found.name}, follow=True))
    console.logout()
    console.force_login(study.owner)
    console.post(reverse("console:delete", args=[study.pk]), {"name": study.name})
    assert not Study.objects.exists()
    hashes = list(Image.objects.exclude(sha256="").values_list("sha256", flat=True))
    assert hashes
    kept = make_prompt_set(1, name="Other")
    shared = Image.objects.filter(sha256=hashes[0]).get()
    Image.objects.create(
        prompt=kept.prompts.get(), kind="uploaded", state="done", sha256=shared.sha256, seed=1, width=1, height=1
    )
    assert f"{Image.objects.count() - 1} pictures" in text_of(
        console.get(reverse("console:prompt_set", args=[found.pk]))
    )
    assert "type its name exactly" in text_of(console.post(address, {"name": "Scene"}, follow=True))
    assert PromptSet.objects.filter(pk=found.pk).exists()
    assert console.get(address).status_code == 405
    console.post(address, {"name": found.name})
    assert list(PromptSet.with_unfinished.all()) == [kept]
    assert Prompt.objects.count() == Image.objects.count() == 1
    assert [image_path(sha256).exists() for sha256 in hashes] == [True] + [False] * (len(hashes) - 1)


def test_a_set_on_which_settings_are_tried_is_kept(console: Client) -> None:
    found = import_texts(["a gate", "a mug"], name="Gates", source="a list")
    lease = {"state": "leased", "holder": uuid.uuid4(), "lease_until": timezone.now()}
    run = SamplingRun.objects.create(prompt_set=found, configuration="{}", **lease)
    address = reverse("console:delete_prompt_set", args=[found.pk])
    console.post(address, {"name": "Gates"})
    assert PromptSet.objects.filter(pk=found.pk).exists()
    SamplingRun.objects.filter(pk=run.pk).delete()
    console.post(address, {"name": "Gates"})
    assert not PromptSet.with_unfinished.exists()
