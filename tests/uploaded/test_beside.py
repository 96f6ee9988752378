"""An arm of uploaded pictures beside generated ones, from the files to scores, and what is refused on the way."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from evenhand.generation.guidance import ClassifierFree, SegmentationFree, Uploaded
from evenhand.studies.arm_recipes import made_for
from evenhand.studies.bundle.replicating import replicate
from evenhand.studies.bundle.verify_bundle import verify_path
from evenhand.studies.bundle.writing import export
from evenhand.studies.chosen_prompts import prompts_of, seed_of
from evenhand.studies.configuration import ConfigurationError
from evenhand.studies.console.candidate_fields import others_text, read_others
from evenhand.studies.drafts import change_draft, configuration_of
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import Image, Pair, ScoringPart, Stage, Study
from evenhand.studies.pipeline import model_cache, scorings, stages
from evenhand.studies.printed.paragraph import methods_paragraph
from evenhand.studies.results.report import study_report
from evenhand.studies.undo import return_to_draft
from evenhand.studies.uploaded.beside import BesideError, arm_plan_of, take_arm
from evenhand.studies.uploaded.bringing import files_of
from evenhand.studies.uploaded.collection import Collection, Matching, look_through
from evenhand.studies.uploaded.matching import MatchingError
from evenhand.studies.uploaded.storing import About
from evenhand.studies.work import queue
from tests.helpers.factories import make_admin, make_draft, make_prompt_set, make_ready_study
from tests.helpers.pictures import picture, written, zipped
from tests.helpers.ratings import always, invite, rate_booklet
from tests.helpers.ready_made import make_ready_made_study
from tests.helpers.short_prompts import shorten_prompts
from tests.helpers.stored import image_path
from tests.helpers.tiny_models import tiny_pipeline

pytestmark = pytest.mark.django_db
ABOUT = About("Painted", "a painter", "a drawer", "CC0")
SIZE = (16, 16)  # of the tiny model's pictures


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Study]:
    """A draft whose tiny checkpoint draws baseline and one candidate."""
    tiny_pipeline().save_pretrained(tmp_path / "tiny")
    study = make_draft(
        checkpoint=str(tmp_path / "tiny"),
        steps=2,
        subset_size=12,
        per_stratum=1,
        height=SIZE[1],
        width=SIZE[0],
        baseline=ClassifierFree(2.0),
        candidates=(SegmentationFree(5.0, opening=ClassifierFree(2.0)),),
    )
    shorten_prompts(study)
    yield study
    model_cache.forget_models()


def brought(folder: Path, files: dict[str, bytes]) -> Collection:
    written(folder / "brought", files)
    return look_through(files_of([folder / "brought"], folder), most=1000)


def numbered(count: int, size: tuple[int, int] = SIZE, first: int = 0) -> dict[str, bytes]:
    return {f"{number:04d}.png": picture(number, size) for number in range(first, first + count)}


def add(study: Study, folder: Path, files: dict[str, bytes], **options: Any) -> Uploaded:
    collection = brought(folder, files)
    plan = arm_plan_of(collection, study, options.pop("matching", Matching()), fit=options.pop("fit", False))
    return take_arm(plan, collection.pictures, study, actor=study.owner, about=options.pop("about", ABOUT))


def prepare(study: Study) -> Study:
    stages.prepare(study)
    stages.work_through()
    return Study.objects.select_related("current_version", "recipe", "subset").get(pk=study.pk)


def failures(study: Study) -> str:
    return "; ".join(study.stages.filter(state=Stage.State.FAILED).values_list("error", flat=True))


def test_uploaded_pictures_stand_beside_generated_ones(draft: Study, tmp_path: Path, client: Client) -> None:
    guidance = add(draft, tmp_path, numbered(draft.prompt_set.count))
    assert configuration_of(Study.objects.get(pk=draft.pk)).candidates[-1] == guidance
    study = prepare(draft)
    assert study.state == Study.State.READY, failures(study)
    pairs = Pair.objects.filter(comparison__study=study)
    assert pairs.count() == 2 * 3
    for pair in pairs.filter(comparison__position=1).select_related("prompt", "baseline_image", "candidate_image"):
        assert (pair.baseline_image.kind, pair.candidate_image.kind) == ("generated", "uploaded")
        assert pair.baseline_image.seed == pair.candidate_image.seed == seed_of(pair.prompt, configuration_of(study))
        assert pair.candidate_image.provenance["uploaded"]["file"] == f"{pair.prompt.index:04d}.png"
        assert (pair.baseline_image.width, pair.candidate_image.width) == (SIZE[0], SIZE[0])
    assert study.stages.get(name="arms").evaluations == 3 * 2 * 2  # the uploaded arm costs nothing
    of_it = Image.objects.filter(made_for(study), arm__guidance__method="uploaded")
    assert of_it.count() == draft.prompt_set.count
    assert "Painted (a painter)" in methods_paragraph(study, configuration_of(study), study_report(study))[1]

    scorings.start(study, scorings.Request(metrics=("clip",), prompts="final"))
    queue.work_through({ScoringPart: scorings.HANDLER}, scorings.QUEUE)
    assert set(of_it.filter(prompt__in=prompts_of(study, "final")).values_list("scores__metric", flat=True)) == {
        "clip:demo"
    }
    client.force_login(study.owner)
    for name in ("study", "pairs", "objective", "versions"):
        page = client.get(reverse(f"console:{name}", args=[study.pk]))
        assert page.status_code == 200
    assert "Painted" in client.get(reverse("console:versions", args=[study.pk])).content.decode()


def test_a_bundle_of_it_is_verified_and_replicated(draft: Study, tmp_path: Path) -> None:
    add(draft, tmp_path, numbered(draft.prompt_set.count))
    study = prepare(draft)
    open_study(study, accept_odd_pairs=True)
    rate_booklet(invite(study, "Grace"), always(1))
    close_study(study)
    export(study, tmp_path / "bundle")
    assert not verify_path(tmp_path / "bundle").problems
    again = replicate(tmp_path / "bundle", name="Again", owner=study.owner)
    assert again.recipe == study.recipe
    pairs = Pair.objects.filter(comparison__study=again)
    assert pairs.count() == 6
    kinds = {(pair.candidate_image.kind, pair.candidate_image.recipe_id) for pair in pairs}
    assert kinds == {("generated", study.recipe_id), ("uploaded", None)}
    of_it = Image.objects.filter(made_for(again), arm__guidance__method="uploaded")
    assert of_it.filter(prompt__in=pairs.values("prompt")).count() == 3
    report = study_report(study)
    assert [each["name"] for each in report["provenance"]["uploaded"]] == ["Painted"]
    assert {each["candidate_name"] for each in report["comparisons"]} == {"a = 5", "Painted"}


def test_the_preparation_stops_at_prompts_without_a_picture_and_goes_on_when_they_are_brought(
    draft: Study, tmp_path: Path, client: Client
) -> None:
    add(draft, tmp_path / "one", numbered(2))
    study = prepare(draft)
    assert study.state == Study.State.PREPARING
    assert "“Painted (a painter)” has no picture of" in failures(study)
    assert "of the 3 prompts of the final subset: prompts " in failures(study)

    client.force_login(study.owner)
    table = client.get(reverse("console:prompts_csv", args=[study.pk]))
    rows = list(csv.DictReader(io.StringIO(b"".join(table.streaming_content).decode())))  # type: ignore[attr-defined]
    assert [int(row["index"]) for row in rows] == list(prompts_of(study, "final").values_list("index", flat=True))
    assert {row["stratum"] for row in rows} == {"high", "middle", "low"}

    return_to_draft(study, actor=study.owner)
    configuration = configuration_of(study)
    change_draft(
        study=study, actor=study.owner, configuration=replace(configuration, candidates=configuration.candidates[:1])
    )
    files = {f"{int(row['index']):04d}.png": picture(int(row["index"]), SIZE) for row in rows}
    add(study, tmp_path / "two", files, about=About("All"))
    study = prepare(Study.objects.get(pk=study.pk))
    assert study.state == Study.State.READY, failures(study)


def test_pictures_follow_a_changed_seed_of_the_study(draft: Study, tmp_path: Path) -> None:
    add(draft, tmp_path, numbered(draft.prompt_set.count))
    study = Study.objects.get(pk=draft.pk)
    change_draft(study=study, actor=study.owner, configuration=replace(configuration_of(study), seed=77))
    study = prepare(Study.objects.get(pk=draft.pk))
    assert study.state == Study.State.READY, failures(study)
    pair = Pair.objects.filter(comparison__study=study, comparison__position=1).select_related("prompt")[0]
    assert pair.candidate_image.seed == 77 + pair.prompt.index
    assert pair.candidate_image.provenance["uploaded"]["file"] == f"{pair.prompt.index:04d}.png"


def test_sizes_are_told_refused_or_fitted(draft: Study, tmp_path: Path) -> None:
    files = numbered(3) | {"0003.png": picture(3, (32, 16))}
    collection = brought(tmp_path, files)
    plan = arm_plan_of(collection, draft, Matching())
    assert not plan.takable
    assert "1 picture of another size than 16×16" in plan.findings[0].text
    assert plan.findings[0].names == ("0003.png: 32×16",)
    with pytest.raises(BesideError, match="another size"):
        take_arm(plan, collection.pictures, draft, actor=draft.owner, about=ABOUT)
    assert not Image.objects.exists()
    add(draft, tmp_path, files, fit=True)
    image = Image.objects.get(prompt__index=3)
    assert (image.width, image.height, image.kind) == (16, 16, "uploaded")
    assert "fitted into another size" in image.provenance["uploaded"]["changes"]
    assert image_path(image.sha256).exists()


def test_a_size_that_the_checkpoint_alone_knows_is_checked_by_the_preparation(draft: Study, tmp_path: Path) -> None:
    configuration = replace(configuration_of(draft), height=None, width=None)
    change_draft(study=draft, actor=draft.owner, configuration=configuration)
    study = Study.objects.get(pk=draft.pk)
    add(study, tmp_path, numbered(study.prompt_set.count, (24, 24)))
    study = prepare(Study.objects.get(pk=study.pk))
    assert study.state == Study.State.PREPARING
    assert "3 pictures of “Painted (a painter)” are not " in failures(study)


@pytest.mark.parametrize(
    ("files", "matching", "words"),
    [
        ({"a.png": picture(0, SIZE)}, Matching(), "No file is a readable picture of a prompt of the set"),
        ({"0001.png": picture(0, SIZE), "sub/1.png": picture(1, SIZE)}, Matching(), "1 prompt has two files"),
    ],
)
def test_what_cannot_be_taken_is_named(
    draft: Study, tmp_path: Path, files: dict[str, bytes], matching: Matching, words: str
) -> None:
    plan = arm_plan_of(brought(tmp_path, files), draft, matching)
    assert not plan.takable
    assert words in [each.text for each in plan.findings if each.blocks]


def test_a_table_says_which_file_is_whose(draft: Study, tmp_path: Path) -> None:
    text = draft.prompt_set.prompts.get(index=4).text
    same = draft.prompt_set.prompts.filter(text=text).order_by("index")[0]
    files = {"x.png": picture(0, SIZE), "y.png": picture(1, SIZE), "z.png": picture(2, SIZE)}
    files["table.csv"] = f'index,prompt,file\n2,,x.png\n,"{text}",y.png\n,nothing of the set,z.png\n7,,w.png\n'.encode()
    plan = arm_plan_of(brought(tmp_path, files), draft, Matching())
    assert plan.taken == {2: "x.png", same.index: "y.png"}
    assert plan.matched.lost == ["line 4: no prompt of the set is meant", "line 5: there is no file w.png"]
    assert plan.matched.loose == {"z.png": "is named by no line of the table"}
    files["table.csv"] = b"index,first,second\n0,x.png,y.png\n"
    with pytest.raises(MatchingError, match="names pairs"):
        arm_plan_of(brought(tmp_path / "pairs", files), draft, Matching())


def test_drafts_alone_are_added_to(draft: Study, tmp_path: Path) -> None:
    ready = make_ready_study(name="Frozen")
    with pytest.raises(BesideError, match="is no draft any more"):
        add(ready, tmp_path / "one", numbered(1, (64, 64)))
    ready_made = make_ready_made_study(tmp_path / "two", make_admin("bea"))
    Study.objects.filter(pk=ready_made.pk).update(state=Study.State.DRAFT)
    with pytest.raises(BesideError, match="uploaded ready-made"):
        add(Study.objects.get(pk=ready_made.pk), tmp_path / "three", numbered(1))


def test_the_same_pictures_again_change_nothing(draft: Study, tmp_path: Path) -> None:
    first = add(draft, tmp_path / "one", numbered(3))
    before = Image.objects.count(), configuration_of(Study.objects.get(pk=draft.pk))
    assert add(draft, tmp_path / "two", numbered(3)) == first
    assert (Image.objects.count(), configuration_of(Study.objects.get(pk=draft.pk))) == before


def test_an_uploaded_baseline_has_uploaded_candidates_and_arms_survive_the_form(draft: Study, tmp_path: Path) -> None:
    guidance = add(draft, tmp_path, numbered(3))
    configuration = configuration_of(Study.objects.get(pk=draft.pk))
    with pytest.raises(ConfigurationError, match="where the baseline was uploaded, every candidate is"):
        replace(configuration, baseline=guidance, candidates=(ClassifierFree(),))
    assert read_others(others_text(configuration.candidates), ClassifierFree(2.0)) == (guidance,)


def test_the_console_adds_them(client: Client, draft: Study) -> None:
    client.force_login(draft.owner)
    address = reverse("console:arm_pictures", args=[draft.pk])
    assert client.get(address).status_code == 200
    archive = SimpleUploadedFile("painted.zip", zipped(numbered(4)))
    shown = client.post(address, {"pictures": [archive]}, follow=True)
    assert "Pictures of 4 prompts, stored with" in shown.content.decode()
    assert "4 of the set’s 60 prompts have a picture" in shown.content.decode()
    page = shown.redirect_chain[-1][0]
    assert client.post(page, {"name": ""}).status_code == 400
    taken = client.post(f"{page}?first_number=0", {"name": "Painted", "licence": "CC0"}, follow=True)
    assert "Added: Painted." in taken.content.decode()
    [*_, guidance] = configuration_of(Study.objects.get(pk=draft.pk)).candidates
    assert isinstance(guidance, Uploaded)
    assert (guidance.name, guidance.licence, Image.objects.count()) == ("Painted", "CC0", 4)
    assert "Change</a>" in taken.content.decode()
    assert client.get(page, follow=True).redirect_chain[-1][0] == address  # they are gone
    # one that is uploaded is removed, and not changed
    key = taken.context["rows"][-1][0]
    refused = client.get(reverse("console:change_candidate", args=[draft.pk, key]), follow=True)
    assert "Uploaded pictures are not changed" in refused.content.decode()
    client.post(reverse("console:remove_candidate", args=[draft.pk, key]))
    assert guidance not in configuration_of(Study.objects.get(pk=draft.pk)).candidates


def test_the_command_adds_them(draft: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "painted", numbered(3, first=1))
    given = [str(folder), "--beside", draft.name, "--owner", draft.owner.username, "--name", "Painted"]
    call_command("import_pictures", *given, "--first-number", "1", "--dry-run", verbosity=0)
    assert "Nothing was stored." in capsys.readouterr().out
    assert not Image.objects.exists()
    call_command("import_pictures", *given, "--first-number", "1", "--model", "a painter", verbosity=0)
    assert f"“{draft.name}” has the candidate “Painted (a painter)” of 3 pictures." in capsys.readouterr().out
    assert set(Image.objects.values_list("prompt__index", flat=True)) == {0, 1, 2}
    with pytest.raises(CommandError, match="another size"):
        call_command(
            "import_pictures", str(written(tmp_path / "large", numbered(1, (20, 20)))), *given[1:], verbosity=0
        )
    assert make_prompt_set(1)  # other sets are nothing to it
