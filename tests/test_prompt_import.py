"""Prompt sets from files and texts: whole or not at all."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection
from django.utils import timezone

from evenhand.sampling.prompts import SOURCE_ID_LIMIT, PromptFileError, Reading, SourcePrompt, prompts_sha256
from evenhand.studies.models import Prompt, PromptSet
from evenhand.studies.prompt_import import PromptImportError, import_file, import_texts, store_prompts

pytestmark = pytest.mark.django_db

COCO = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco_30k.csv"


def write(folder: Path, content: str, name: str = "captions.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


TABLE = 'image_id,prompt,seed\n007,a dog,5\n8,"a  cat,\nasleep ",\n9,a dog,6\n'


def test_a_file_becomes_a_set_with_its_prompts_in_order(tmp_path: Path) -> None:
    prompt_set = import_file(write(tmp_path, TABLE), name=" Pets ")
    prompt_set.refresh_from_db()
    assert (prompt_set.name, prompt_set.source) == ("Pets", "captions.csv")
    assert (prompt_set.count, prompt_set.duplicates) == (3, 1)
    assert prompt_set.sha256 == prompts_sha256(["a dog", "a cat, asleep", "a dog"])
    rows = list(prompt_set.prompts.order_by("index").values_list("index", "text", "source_id", "seed"))
    assert rows == [(0, "a dog", "007", 5), (1, "a cat, asleep", "8", None), (2, "a dog", "9", 6)]


def test_texts_are_trimmed_as_a_files_are() -> None:
    prompt_set = import_texts(iter(["a dog", " a \n cat"]), name="Pets", source="a list")
    assert list(prompt_set.prompts.order_by("index").values_list("text", flat=True)) == ["a dog", "a cat"]
    assert prompt_set.sha256 == prompts_sha256(["a dog", "a cat"])
    assert prompt_set.source == "a list"


def test_more_prompts_than_one_insert_holds() -> None:
    texts = [f"a dog and {number} cats" for number in range(4500)]
    prompt_set = import_texts(texts, name="Many", source="a list")
    assert list(prompt_set.prompts.order_by("index").values_list("text", flat=True)) == texts


def test_the_largest_seed_a_file_may_hold_fits_the_record(tmp_path: Path) -> None:
    prompt_set = import_file(write(tmp_path, f"prompt,seed\na dog,{2**63 - 1}\n"), name="Seeds")
    assert prompt_set.prompts.get().seed == 2**63 - 1


def test_the_readers_limit_is_the_records() -> None:
    assert Prompt._meta.get_field("source_id").max_length == SOURCE_ID_LIMIT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "needs a name"),
        (" \n", "needs a name"),
        ("Taken", "named “Taken” already"),
        (" Taken ", "named “Taken” already"),
        ("x" * 101, "the name “x{40}…” has 101 characters, at most 100"),
        ("a\0b", r"the name 'a\\x00b' holds a NUL"),
    ],
)
def test_a_name_that_is_no_use_is_named_and_leaves_nothing(tmp_path: Path, name: str, message: str) -> None:
    taken = import_texts(["a dog"], name="Taken", source="a list")
    with pytest.raises(PromptImportError, match=message):
        import_file(write(tmp_path, TABLE), name=name)
    with pytest.raises(PromptImportError, match=message):
        import_texts(["a cat"], name=name, source="a list")
    assert list(PromptSet.objects.all()) == [taken]
    assert Prompt.objects.get().text == "a dog"


@pytest.mark.parametrize(
    ("texts", "source", "message"),
    [
        ([], "a list", "a list: holds no prompts"),
        (["a dog", " "], "a list", "prompt 1 of a list: the prompt is empty"),
        (["a\0dog"], "a list", "prompt 0 of a list: .* NUL"),
        (["a \ud800"], "a list", "prompt 0 of a list: .* no Unicode text"),
        (["a dog"], "s" * 256, "the source .* 256 characters, at most 255"),
    ],
)
def test_bad_texts_are_named_and_leave_nothing(texts: list[str], source: str, message: str) -> None:
    with pytest.raises(PromptImportError, match=message):
        import_texts(texts, name="Pets", source=source)
    assert not PromptSet.objects.exists()


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        (TABLE + "10,,7\n", None, "line 6: the prompt is empty"),
        (TABLE + "10,a\0b,7\n", None, "line 6: .* NUL"),
        (TABLE + f"{'1' * 101},a cow,7\n", None, "line 6: the id has 101 characters"),
        (TABLE, "captions", "no column 'captions'"),
    ],
)
def test_a_bad_file_is_named_and_leaves_nothing(tmp_path: Path, content: str, column: str | None, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(PromptFileError, match=message) as caught:
        import_file(path, name="Pets", reading=Reading(column=column))
    assert str(path) in str(caught.value)
    assert not PromptSet.objects.exists()


def test_a_prompt_that_the_database_refuses_takes_the_whole_set_along() -> None:
    good = [SourcePrompt(f"prompt {i}") for i in range(3000)]
    with pytest.raises(IntegrityError, match="prompt_not_empty"):
        store_prompts([*good, SourcePrompt("")], name="Pets", source="a list")
    assert not PromptSet.objects.exists()
    assert not Prompt.objects.exists()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_of_two_who_import_under_one_name_one_wins_and_the_other_is_told() -> None:
    start = threading.Barrier(2)
    outcomes: list[str] = []

    def import_as(who: str) -> None:
        try:
            start.wait()
            import_texts([f"{who} {i}" for i in range(500)], name="Pets", source=who)
            outcomes.append("made")
        except PromptImportError as error:
            outcomes.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=import_as, args=(who,)) for who in ("ada", "grace")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, reverse=True) == [
        "there is a prompt set named “Pets” already; prompt sets are never overwritten",
        "made",
    ]
    prompt_set = PromptSet.objects.get()
    texts = set(prompt_set.prompts.values_list("text", flat=True))
    assert texts == {f"{prompt_set.source} {i}" for i in range(500)}
    assert Prompt.objects.count() == 500


# ------------------------------------------------------------------------------ the command


def test_the_command_prints_its_counts(tmp_path: Path) -> None:
    out = StringIO()
    path = write(tmp_path, TABLE)
    call_command("import_prompts", str(path), name="Pets", stdout=out)
    assert out.getvalue().startswith("Read as a table, separated by commas, with quotation marks around fields, the")
    assert (
        out.getvalue()
        .splitlines()[-1]
        .startswith(f"Imported “Pets” from {path}: 3 prompts, 1 trimmed, 1 duplicates (kept), ")
    )
    assert out.getvalue().endswith(" seconds\n")
    assert PromptSet.objects.get().count == 3


def test_the_command_takes_a_column_and_tabs(tmp_path: Path) -> None:
    path = write(tmp_path, "left\tright\na dog\ta cat\n", "captions.tsv")
    call_command("import_prompts", str(path), name="Right", column="right", stdout=StringIO())
    assert Prompt.objects.get().text == "a cat"


def test_the_command_takes_the_first_prompts_of_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "".join(f'{{"caption": "a dog and {i} cats"}}\n' for i in range(4500)), "captions.jsonl")
    out = StringIO()
    call_command("import_prompts", str(path), name="Pets", limit=4200, stdout=out)
    prompt_set = PromptSet.objects.get()
    texts = [f"a dog and {i} cats" for i in range(4200)]
    assert (prompt_set.count, prompt_set.sha256) == (4200, prompts_sha256(texts))
    assert list(prompt_set.prompts.order_by("index").values_list("text", flat=True)) == texts


def test_a_line_that_is_wrong_after_thousands_of_good_ones_leaves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, '"a dog"\n' * 4500 + "{\n", "captions.jsonl")
    with pytest.raises(CommandError, match=r"captions\.jsonl: line 4501: is not JSON"):
        call_command("import_prompts", str(path), name="Pets", stdout=StringIO())
    assert not PromptSet.objects.exists()
    assert not Prompt.objects.exists()


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    with pytest.raises(CommandError, match="no column 'text'; the columns are image_id, prompt, seed"):
        call_command("import_prompts", str(path), name="Pets", column="text")
    with pytest.raises(CommandError, match=r"none\.csv: cannot be read"):
        call_command("import_prompts", str(tmp_path / "none.csv"), name="Pets")
    import_texts(["a dog"], name="Pets", source="a list")
    with pytest.raises(CommandError, match="named “Pets” already"):
        call_command("import_prompts", str(tmp_path / "none.csv"), name="Pets")  # before the file is opened


def test_a_dry_run_tells_how_a_file_is_read_and_stores_nothing(tmp_path: Path) -> None:
    out = StringIO()
    path = write(tmp_path, "Prompts;Kind\na gate;x\na gate;y\n" + "red cube " * 90 + ";z\n")
    call_command("import_prompts", str(path), dry_run=True, stdout=out)
    told = out.getvalue()
    assert "separated by semicolons" in told
    assert "The prompts: “Prompts”" in told
    assert "3 prompts, 1 trimmed, 1 duplicates" in told
    assert "demo: at most 452 tokens, it reads 77; it would cut 1 prompts" in told
    assert not PromptSet.objects.exists()
    with pytest.raises(CommandError, match="needs a --name"):
        call_command("import_prompts", str(path), stdout=StringIO())


def test_what_a_dry_run_cannot_read_ends_in_an_error(tmp_path: Path) -> None:
    for content, message in (("prompt,kind\n,x\na gate,y\n", "cannot be imported"), ("a,b\n1,2\n", "which column")):
        with pytest.raises(CommandError, match=message):
            call_command("import_prompts", str(write(tmp_path, content)), dry_run=True, stdout=StringIO())


def test_the_command_leaves_out_what_is_asked(tmp_path: Path) -> None:
    path = write(tmp_path, "prompt,seed\n,1\na gate,-2\n" + "red cube " * 90 + ",3\n")
    call_command(
        "import_prompts",
        str(path),
        name="Gates",
        skip_empty=True,
        ignore_seeds=True,
        skip_cut_by=["demo"],
        stdout=StringIO(),
    )
    assert list(Prompt.objects.values_list("text", "seed")) == [("a gate", None)]
    with pytest.raises(CommandError, match="“nowhere” is not at hand"):
        call_command("import_prompts", str(path), name="More", skip_cut_by=["nowhere"], stdout=StringIO())


# ------------------------------------------------------------------------------ sets that are not whole


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_others_write_while_a_long_import_goes_on_and_see_no_part_of_it() -> None:
    """Between any two chunks the database takes another's write."""

    def prompts() -> Iterator[SourcePrompt]:
        for i in range(9000):
            if i and i % 2000 == 0:
                assert not connection.in_atomic_block
                assert not PromptSet.objects.exists()
                thread = threading.Thread(target=write_beside, args=(i,))
                thread.start()
                thread.join(timeout=5)  # less than SQLite's own patience with a lock
                assert not thread.is_alive()
            yield SourcePrompt(f"a gate and {i} mugs")

    def write_beside(i: int) -> None:
        try:
            get_user_model().objects.create_user(username=f"ada{i}")
        finally:
            connection.close()

    made = store_prompts(prompts(), name="Many", source="a list")
    assert get_user_model().objects.count() == 4
    assert PromptSet.objects.get() == made
    assert (made.count, made.name) == (9000, "Many")


def test_what_a_killed_import_left_is_seen_nowhere_and_removed_by_a_later_one() -> None:
    left = PromptSet.with_unfinished.create(name="unfinished 1", source="a", sha256="", count=1)
    going_on = PromptSet.with_unfinished.create(name="unfinished 2", source="a", sha256="", count=1)
    Prompt.objects.bulk_create(Prompt(prompt_set=left, index=i, text="x") for i in range(4100))
    PromptSet.with_unfinished.filter(pk=left.pk).update(created_at=timezone.now() - timedelta(hours=2))
    assert not PromptSet.objects.exists()
    made = import_texts(["a gate"], name="Gates", source="a list")
    assert set(PromptSet.with_unfinished.all()) == {going_on, made}
    assert Prompt.objects.get().text == "a gate"


# ------------------------------------------------------------------------------ COCO-30K


@pytest.mark.skipif(
    not COCO.exists(), reason="../shared/data/coco_30k.csv is absent; COCO-30K is no part of the project"
)
def test_coco_30k_imports_whole() -> None:
    with COCO.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    texts = [" ".join(row["prompt"].split()) for row in rows]
    prompt_set = import_file(COCO, name="COCO-30K")
    assert prompt_set.count == len(rows) == 30_000
    assert prompt_set.duplicates == 533  # counted with: len(texts) − len(set(texts)) over csv.DictReader's rows
    assert prompt_set.sha256 == prompts_sha256(texts)
    stored = list(prompt_set.prompts.order_by("index").values_list("text", "source_id", "seed"))
    expected = [(t, row["image_id"], int(row["evaluation_seed"])) for t, row in zip(texts, rows, strict=True)]
    assert stored == expected
