"""What a bundle holds, what it must not hold, and that it is of one moment."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from evenhand.generation.methods.other_checkpoint import public_name
from evenhand.studies.bundle import collecting, records, verify_bundle
from evenhand.studies.bundle.anonymous import csv_rows
from evenhand.studies.bundle.naming import Naming
from evenhand.studies.bundle.writing import export
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import AuditEvent, Evaluator, Image, PromptSubset, Rating, Study
from evenhand.studies.rating import chain
from evenhand.studies.results.export import codebook, csv_lines
from evenhand.studies.results.export.cells import quoted
from evenhand.studies.results.report import study_report
from tests.helpers.bundles import REMARK, SECRETS, SEPARATORS, rate, rated_study
from tests.helpers.factories import make_draft, make_ready_study
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db


def lines(bundle: Path, name: str) -> list[dict[str, Any]]:
    with (bundle / name).open(encoding="utf-8") as file:  # str.splitlines would also cut at a remark's separators
        return [json.loads(line) for line in file]


def everything(bundle: Path) -> str:
    """All text of a bundle."""
    return "\n".join(
        path.read_text(encoding="utf-8") for path in bundle.rglob("*") if path.is_file() and path.suffix != ".png"
    )


def test_a_bundle_holds_the_study(study: Study, bundle: Path) -> None:
    assert (bundle / "ratings.csv").read_text(encoding="utf-8") == "".join(csv_lines(study))
    assert (bundle / "codebook.md").read_text(encoding="utf-8") == codebook()
    written, computed = json.loads((bundle / "report.json").read_text()), json.loads(json.dumps(study_report(study)))
    for report in (written, computed):
        report["provenance"]["dates"].pop("computed")
    assert written == computed
    [version] = study.versions.all()
    configuration = (bundle / "configuration" / "version-1.json").read_bytes()
    assert hashlib.sha256(configuration).hexdigest() == version.sha256
    assert len(lines(bundle, "pairs.jsonl")) == 24
    assert {len(list((bundle / name).iterdir())) for name in ("figures", "texts")} == {2, 4}
    assert "Ein Beispiel" in (bundle / "texts" / "instructions.de.txt").read_text(encoding="utf-8")
    assert "Which picture is better" in (bundle / "texts" / "instructions.en.txt").read_text(encoding="utf-8")
    provenance = json.loads((bundle / "provenance.json").read_text())
    assert provenance["recipe"]["checkpoint"] == "demo"
    assert provenance["prompt_set"]["sha256"] == study.prompt_set.sha256
    assert provenance["bundle_made_with"].keys() >= {"evenhand", "python", "numpy", "Django"}


@pytest.mark.database
def test_every_picture_is_there_once_under_its_hash(study: Study, bundle: Path) -> None:
    shown = set(records.images_of(study).values_list("sha256", flat=True))
    assert {path.stem for path in (bundle / "pictures").iterdir()} == shown
    for path in (bundle / "pictures").iterdir():
        assert path.read_bytes() == image_path(path.stem).read_bytes()


@pytest.mark.database
def test_the_trials_say_who_was_shown_what(study: Study, bundle: Path) -> None:
    booklets = {row["booklet"]: row for row in lines(bundle, "booklets.jsonl")}
    rows = {row["trial"]: row for row in lines(bundle, "trials.jsonl")}
    ratings = Rating.objects.filter(evaluator__study=study).select_related("trial__left_image", "trial__right_image")
    assert ratings
    for rating in ratings:
        row = rows[str(rating.trial.public_id)]
        assert booklets[row["booklet"]]["evaluator"] == f"e{rating.evaluator_id}"
        assert (row["left_sha256"], row["right_sha256"]) == (
            rating.trial.left_image.sha256,
            rating.trial.right_image.sha256,
        )
    repeats = [row for row in rows.values() if row["kind"] == "repeat"]
    assert repeats
    assert all(rows[row["repeat_of"]]["pair"] == row["pair"] for row in repeats)
    assert all(rows[row["repeat_of"]]["candidate_side"] != row["candidate_side"] for row in repeats)


@pytest.mark.database
def test_the_chain_is_all_there(study: Study, bundle: Path) -> None:
    rows = lines(bundle, "chain.jsonl")
    assert len(rows) == Rating.objects.filter(evaluator__study=study).count()
    assert [row["text"] is None for row in rows].count(True) == 3  # Judy's two, and a correction
    about = json.loads((bundle / "bundle.json").read_text())
    assert about["ratings_root"] == about["ratings_root_at_closing"] == chain.root(study)


@pytest.mark.parametrize("form", ["bundle", "anonymous"])
def test_nobodys_identity_is_in_it(study: Study, form: str, request: pytest.FixtureRequest) -> None:
    text = everything(request.getfixturevalue(form))
    assert [what for what, secret in SECRETS.items() if secret in text] == []
    for person in Evaluator.objects.filter(study=study):
        assert person.nonce not in text
        assert not person.external_hmac or person.external_hmac not in text
    assert study.link_nonce not in text
    assert study.owner.username not in text
    assert str(image_path("0" * 64).parent.parent.parent) not in text


def test_the_anonymous_form_leads_back_to_nobody(study: Study, bundle: Path, anonymous: Path) -> None:
    text, open_text = everything(anonymous), everything(bundle)
    ratings = Rating.objects.filter(evaluator__study=study).select_related("trial")
    traces = {
        *study.evaluators.values_list("public_id", flat=True),
        *(f'"e{pk}"' for pk in study.evaluators.values_list("pk", flat=True)),
        *(str(rating.key) for rating in ratings),
        *(str(rating.trial.public_id) for rating in ratings),
        *(rating.rated_at.strftime("%Y-%m-%dT%H:%M") for rating in ratings),
        REMARK, "1440.5", "pressed one key", "ada@university.example", "CODE-4711",
    }  # fmt: skip
    assert [trace for trace in traces if trace in text] == []
    in_the_open_form = [trace for trace in traces if trace in open_text]
    assert {REMARK[:16] in open_text, "CODE-4711" in open_text, "pressed one key" in open_text} == {True}
    assert len(in_the_open_form) > len(traces) / 2  # so the search itself finds what is there


@pytest.mark.database
def test_the_anonymous_form_says_the_same_of_the_ratings(bundle: Path, anonymous: Path) -> None:
    def answers(path: Path) -> list[tuple[str, ...]]:
        with (path / "ratings.csv").open(encoding="utf-8", newline="") as file:
            columns = ("pair", "trial_kind", "position", "choice", "preference", "excluded", "simulated", "superseded")
            return sorted(tuple(row[name] for name in columns) for row in csv.DictReader(file))

    assert answers(anonymous) == answers(bundle)
    with (anonymous / "ratings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["rated_at"].isdigit() for row in rows)
    assert {int(row["elapsed_ms"]) % 100 for row in rows if row["elapsed_ms"]} == {0}
    assert "remark" not in rows[0]
    assert "viewport_width" not in rows[0]


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r", *SEPARATORS])
def test_an_anonymous_row_stays_whole_whatever_a_text_holds(separator: str) -> None:
    naming = Naming(True, {1: "a1", 2: "a0"}, {}, {})
    prompt, remark = quoted(f"a fox{separator}at night"), quoted(f"good{separator}one")
    given = ["evaluator,prompt,remark\n", f"e1,{prompt},{remark}\n", f"e2,{prompt},\n"]
    found = list(csv.reader(io.StringIO("".join(csv_rows(given, naming)), newline="")))
    assert found == [["prompt", "evaluator"], *([f"a fox{separator}at night", name] for name in ("a0", "a1"))]


def test_pseudonyms_and_orders_are_drawn_anew(study: Study, tmp_path: Path) -> None:
    people: set[str] = set()
    orders = set()
    for n in range(4):
        export(study, tmp_path / f"{n}", anonymous=True)
        names = {row["evaluator"] for row in lines(tmp_path / f"{n}", "evaluators.jsonl")}
        assert len(names) == study.evaluators.count()
        assert not people & names
        people |= names
        rows = lines(tmp_path / f"{n}", "trials.jsonl")
        orders.add(tuple(row["pair"] for row in rows))
        blocks: dict[tuple[bool, int], list[int]] = {}
        for row in lines(tmp_path / f"{n}", "booklets.jsonl"):
            blocks.setdefault((row["simulated"], row["block"]), []).append(row["number"])
        assert all(len(numbers) == 4 for key, numbers in blocks.items() if not key[0])
    assert len(orders) > 1


def test_the_anonymous_configuration_names_no_owner_and_no_folder(tmp_path: Path) -> None:
    study = make_ready_study(contact="ada@university.example", approval="IRB 17")
    version = study.versions.get()
    configuration = StudyConfiguration.from_json(version.configuration)
    text = configuration.to_json().replace('"checkpoint":"demo"', '"checkpoint":"/somewhere/ada/models/sd15"')
    study.versions.update(configuration=text, sha256=hashlib.sha256(text.encode()).hexdigest())
    image = records.images_of(study)[0]
    Image.objects.filter(pk=image.pk).update(provenance={"checkpoint": "/somewhere/ada/models/sd15"})
    export(study, tmp_path / "open")
    export(study, tmp_path / "anonymous", anonymous=True)
    assert "/somewhere/ada" in everything(tmp_path / "open")
    text = everything(tmp_path / "anonymous")
    assert "/somewhere/ada" not in text
    assert "IRB 17" not in text
    assert '"checkpoint":"sd15"' in text
    assert verify_bundle.verify_path(tmp_path / "anonymous").problems == []


def test_the_anonymous_form_names_an_encoder_without_the_folders_of_its_weights(tmp_path: Path) -> None:
    weights = "/somewhere/ada/clip/w.pt"
    study = make_ready_study(encoder="ViT-B-32", encoder_pretrained=weights)
    PromptSubset.objects.filter(prompt_set=study.prompt_set).update(encoder=f"ViT-B-32/{weights}")
    export(study, tmp_path / "open")
    export(study, tmp_path / "anonymous", anonymous=True)
    assert weights in everything(tmp_path / "open")
    assert "/somewhere" not in everything(tmp_path / "anonymous")
    provenance = json.loads((tmp_path / "anonymous" / "provenance.json").read_text())
    assert provenance["subset"]["encoder"] == "ViT-B-32/w.pt"
    configuration = json.loads((tmp_path / "anonymous" / "configuration" / "version-1.json").read_text())
    assert (configuration["encoder"], configuration["encoder_pretrained"]) == ("ViT-B-32", "w.pt")


# ------------------------------------------------------------------------------ forms, and what cannot be written


def test_folder_and_zip_hold_the_same(study: Study, bundle: Path, tmp_path: Path) -> None:
    export(study, tmp_path / "shapes.zip")
    with zipfile.ZipFile(tmp_path / "shapes.zip") as archive:
        assert archive.testzip() is None
        names = {name.removeprefix("shapes-bundle/") for name in archive.namelist()}
        assert names == {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
        kinds = {Path(each.filename).suffix: each.compress_type for each in archive.infolist()}
        assert kinds[".png"] == zipfile.ZIP_STORED
        assert kinds[".jsonl"] == zipfile.ZIP_DEFLATED
        changing = {"bundle.json", "report.json", "SHA256SUMS"}  # they carry the time
        for name in names - changing:
            assert archive.read(f"shapes-bundle/{name}") == (bundle / name).read_bytes()


def test_the_sums_are_what_sha256sum_reads(bundle: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=bundle, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_command_writes_and_records_the_root(study: Study, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    target = tmp_path / "shapes.zip"
    call_command("export_bundle", study.name, to=target, verbosity=0)
    root = verify_bundle.verify_path(target).root
    assert f"root {root}" in capsys.readouterr().out
    [event] = AuditEvent.objects.filter(study=study, action="bundle written")
    assert event.detail["root"] == root
    assert event.detail["anonymous"] is False
    with pytest.raises(CommandError, match=r"shapes\.zip is there already, and is not overwritten"):
        call_command("export_bundle", study.name, to=target, verbosity=0)
    with pytest.raises(CommandError, match="there is no folder"):
        call_command("export_bundle", study.name, to=tmp_path / "nowhere" / "x.zip", verbosity=0)


def spoil_nothing(study: Study) -> None:
    study.comparisons.get(position=0).pairs.all().delete()
    study.comparisons.get(position=1).pairs.all().delete()


def remove_picture(study: Study) -> None:
    image_path(records.images_of(study)[3].sha256).unlink()


def change_picture(study: Study) -> None:
    path = image_path(records.images_of(study)[3].sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_nothing, "has no pairs yet: prepare it first"),
        (remove_picture, "is missing from the store"),
        (change_picture, "was changed in the store"),
    ],
)
def test_what_cannot_be_written_is_named_and_nothing_is_left(
    spoil: Callable[[Study], None], message: str, tmp_path: Path
) -> None:
    study = make_ready_study()
    spoil(study)
    for target in (tmp_path / "x.zip", tmp_path / "x"):
        with pytest.raises(collecting.ExportError, match=message):
            export(study, target)
    assert list(tmp_path.iterdir()) == []


def test_a_draft_is_refused(tmp_path: Path) -> None:
    with pytest.raises(collecting.ExportError, match="“Shapes” is draft and has no pairs yet"):
        export(make_draft(), tmp_path / "x")


def test_a_study_that_nobody_rated_has_a_bundle(tmp_path: Path) -> None:
    export(make_ready_study(), tmp_path / "x.zip")
    result = verify_bundle.verify_path(tmp_path / "x.zip")
    assert result.problems == []
    assert "0 ratings" in result.summary()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_answers_that_come_meanwhile_do_not_tear_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Somebody rates between two files; the bundle shows the study as it was before, and the answers are stored."""
    study = rated_study(close=False)
    person = study.evaluators.filter(finished_at=None, withdrawn_at=None, consented_at__isnull=False).first()
    assert person is not None
    before, failures = Rating.objects.count(), []

    def meanwhile() -> None:
        try:
            rate(Evaluator.objects.get(pk=person.pk), 1)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    def evaluators(*arguments: Any) -> Any:
        thread = threading.Thread(target=meanwhile)
        thread.start()
        thread.join(timeout=30)
        return original(*arguments)

    original = records.evaluators
    monkeypatch.setattr(records, "evaluators", evaluators)
    export(study, tmp_path / "x")
    assert failures == []
    assert Rating.objects.count() == before + 2  # an answer and its correction
    assert verify_bundle.verify_path(tmp_path / "x").problems == []
    assert len(lines(tmp_path / "x", "chain.jsonl")) == before


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("demo", "demo"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("ViT-g-14/laion2b_s12b_b42k", "ViT-g-14/laion2b_s12b_b42k"),
        ("/somewhere/ada/models/sd15/", "sd15"),
        ("~/models/sd15", "sd15"),
        ("../ada/sd15", "sd15"),
        ("ada/models/sd15", "sd15"),
        ("C:\\ada\\sd15", "sd15"),
        ("/", "/"),
    ],
)
def test_a_machines_folders_are_cut_off_and_hub_ids_are_not(name: str, public: str) -> None:
    assert public_name(name) == public
