"""Pictures and uploads in an S3-compatible bucket: moto's server, which is a process of its own."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.config import Config
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command

from evenhand.config.pictures import picture_stores
from evenhand.errors import is_machine_fault
from evenhand.studies import doctor, image_store, prompt_uploads
from evenhand.studies.access import link_for
from evenhand.studies.image_store import image_file, store_image, store_picture, webp_file
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Image, Pair, Study, Trial
from evenhand.studies.pipeline import stages, tasks
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.picture_files import PNG_END
from evenhand.studies.stores import bucket as stores_bucket
from evenhand.studies.stores.bucket import BucketError
from evenhand.studies.uploaded import holding
from evenhand.studies.work.outage import is_outage
from tests.helpers.buckets import PREFIX, TestBucket, key_of
from tests.helpers.factories import make_admin, make_draft, make_ready_study
from tests.helpers.pictures import picture, zipped
from tests.helpers.servers import gunicorn
from tests.helpers.visitors import Visitor


def test_a_picture_lies_under_its_hash_and_prefix(bucket: TestBucket) -> None:
    png = picture(1)
    sha256 = store_picture(png)
    assert sha256 == hashlib.sha256(png).hexdigest()
    assert bucket.get(key_of(sha256)) == png == image_file(sha256).read_bytes()
    assert image_file(sha256).size() == len(png)
    assert sorted(bucket.keys()) == [key_of(sha256), key_of(sha256, "webp")]
    assert str(image_file(sha256)) == f"s3://{bucket.name}/{key_of(sha256)}"
    image_file(sha256).delete()
    image_file(sha256).delete()
    assert not image_file(sha256).exists()
    assert webp_file(sha256).exists()
    for read in (image_file(sha256).read_bytes, image_file(sha256).size):
        with pytest.raises(FileNotFoundError):
            read()


def test_many_pictures_are_looked_for_by_one_listing(bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    there, gone = store_image(b"there"), hashlib.sha256(b"gone").hexdigest()
    bucket.put(key_of(gone, "webp"), b"not the picture")
    bucket.put("another/prefix", b"not ours")
    assert image_store.missing([there, gone]) == {gone}
    monkeypatch.setattr(image_store, "FEW", 0)
    monkeypatch.setattr(image_store, "image_file", None)  # none is asked for
    assert image_store.missing([there, gone]) == {gone}
    assert {file.name[6:] for file, _ in image_store.stored_files()} == {f"{there}.png", f"{gone}.webp"}


class _Refuses(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        """Refuse, and note what was sent."""
        self.server.sent.append(dict(self.headers))  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"<Error><Code>AccessDenied</Code><Message>No.</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        """There is nothing."""
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Refuses)
    server.sent = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_refusal_and_silence_are_outages_that_are_waited_for(
    bucket: TestBucket, refusing: HTTPServer, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """And the bucket is sent the SHA-256, by which it refuses bytes that changed on the way."""
    monkeypatch.setattr(stores_bucket, "CLIENT", Config(retries={"total_max_attempts": 1}))  # without the pauses
    for port, said in ((refusing.server_port, "AccessDenied: No."), (1, "Could not connect")):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        settings.STORAGES = settings.STORAGES | picture_stores(f"s3://{bucket.name}/{port}")
        with pytest.raises(BucketError, match=said) as caught:
            store_image(b"picture")
        assert is_outage(caught.value)
        assert is_machine_fault(caught.value)
        (finding,) = doctor.storage(False)
        assert not finding.well
        assert finding.text.startswith(f"s3://{bucket.name}/{port}/images cannot be written: {said}")
    sent = refusing.sent[0]["x-amz-checksum-sha256"]  # type: ignore[attr-defined]
    assert base64.b64decode(sent) == hashlib.sha256(b"picture").digest()


@pytest.mark.parametrize("address", ["gs://bucket", "s3:///prefix", "s3://key:secret@bucket", "/var/pictures"])
def test_an_address_that_names_no_bucket_is_refused(address: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="must look like s3://bucket/prefix"):
        picture_stores(address)


@pytest.mark.django_db
def test_a_folder_is_copied_with_every_hash_verified(
    bucket: TestBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = []
    for seed in range(3):
        png = picture(seed)
        hashes.append(hashlib.sha256(png).hexdigest())
        path = tmp_path / hashes[-1][:2] / hashes[-1][2:4] / f"{hashes[-1]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    bucket.put(key_of(hashes[0]), picture(0))
    call_command("copy_pictures", str(tmp_path))
    assert "2 files written and 1 there already, each read back and equal" in capsys.readouterr().out
    assert [bucket.get(key_of(sha256)) for sha256 in hashes] == [picture(seed) for seed in range(3)]

    bucket.put(key_of(hashes[1]), b"changed in the bucket")
    path.write_bytes(b"changed in the folder")
    with pytest.raises(CommandError, match="2 files were not copied"):
        call_command("copy_pictures", str(tmp_path))
    told = capsys.readouterr().err
    assert f"{hashes[1]}.png: s3://{bucket.name}/{key_of(hashes[1])} holds other bytes" in told
    assert f"{hashes[2]}.png: its bytes are not those of its name" in told


@pytest.mark.django_db
def test_recorded_pictures_that_were_not_copied_are_told(bucket: TestBucket, tmp_path: Path) -> None:
    make_ready_study()
    (tmp_path / "images").mkdir()
    bucket.delete(key_of(Image.objects.values_list("sha256", flat=True)[0]))
    with pytest.raises(CommandError, match="1 recorded pictures lie neither in"):
        call_command("copy_pictures", str(tmp_path / "images"))


@pytest.mark.django_db
def test_uploads_are_found_by_another_machine(bucket: TestBucket, settings: Any, tmp_path: Path) -> None:
    """One machine takes them, another one with a folder of its own goes on with them."""
    admin = make_admin()
    settings.VAR = tmp_path / "first"
    prompts = prompt_uploads.keep(SimpleUploadedFile("prompts.csv", b"prompt\na red star\n"), admin.pk)
    archive = zipped({f"{arm}/{number}.png": picture(number) for arm in "ab" for number in range(2)})
    held = holding.keep([SimpleUploadedFile("both.zip", archive)], admin.pk)
    assert len(bucket.keys()) == 2

    settings.VAR = tmp_path / "second"
    found = prompt_uploads.find(prompts.token, admin.pk)
    assert found.path.read_bytes() == b"prompt\na red star\n"
    assert tmp_path / "second" in found.path.parents
    again = holding.find(held.token, admin.pk)
    assert again.collection.looks == held.collection.looks
    assert [path.read_bytes() for path in again.collection.pictures.values()] == [
        path.read_bytes() for path in held.collection.pictures.values()
    ]
    assert all(tmp_path / "second" in path.parents for path in again.collection.pictures.values())
    prompt_uploads.remove(found)
    holding.remove(again)
    assert bucket.keys() == []
    settings.VAR = tmp_path / "third"
    with pytest.raises(prompt_uploads.UploadError):
        prompt_uploads.find(prompts.token, admin.pk)


# ------------------------------------------------------------------------------ studies


@pytest.mark.django_db(transaction=True)
def test_evaluators_see_pairs_and_no_bucket(bucket: TestBucket, tmp_path: Path) -> None:
    study = make_ready_study()
    open_study(study)
    person = enrol(study, note="Grace")
    consent(person)
    trial = Trial.objects.get(booklet__evaluator=person, position=1)
    with gunicorn(tmp_path / "gunicorn.log", workers=1) as address, httpx.Client(base_url=address) as browser:
        shown = browser.get(link_for(person), headers={"Accept": "application/json"}).json()["trial"]
        page = browser.get(link_for(person)).text
        answers = [browser.get(shown[side]) for side in ("left", "right")]
        bucket.delete(key_of(trial.left_image.sha256))
        lost = browser.get(shown["left"])
    assert bucket.name not in page + str(shown) + str([answer.headers for answer in answers])
    assert len(answers[0].content) == len(answers[1].content)
    for answer, image in zip(answers, (trial.left_image, trial.right_image), strict=True):
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert image.sha256 not in str(answer.headers)
    png = bucket.get(key_of(trial.right_image.sha256))
    assert answers[1].content[: len(png) - PNG_END] == png[:-PNG_END]
    assert lost.status_code == 404


@pytest.mark.django_db
def test_a_bucket_that_does_not_answer_is_told_as_503(
    bucket: TestBucket, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    shown = visitor.status()["trial"]["left"]
    assert visitor.client.get(shown).status_code == 200
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(stores_bucket, "CLIENT", Config(retries={"total_max_attempts": 1}))
    settings.STORAGES = settings.STORAGES | picture_stores(f"s3://{bucket.name}/{PREFIX}/")
    answer = visitor.client.get(shown)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_the_doctor_finds_a_wrong_hash_and_a_lost_object(bucket: TestBucket) -> None:
    make_ready_study()
    changed, lost = sorted(set(Image.objects.values_list("sha256", flat=True)))[:2]
    bucket.put(key_of(changed), b"half a picture")
    bucket.delete(key_of(lost))
    bucket.put(f"{PREFIX}/images/ab/cd/{'e' * 64}.png", b"nobody's, and young")
    told = [finding.text for check in (doctor.storage, doctor.pictures, doctor.orphans) for finding in check(False)]
    assert told == [
        f"s3://{bucket.name}/{PREFIX}/images is written and read",
        f"{Image.objects.count()} recorded, {Image.objects.filter(sha256=lost).count()} lost, "
        f"{Image.objects.filter(sha256=changed).count()} damaged",
        "1 without a record, 0 of them older than a day",
    ]


@pytest.mark.django_db
def test_the_doctor_removes_an_old_object_that_nobody_records(
    bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256, later = store_image(b"nobody's"), doctor.timezone.now() + timedelta(days=2)
    assert abs(doctor.timezone.now() - image_file(sha256).changed()) < timedelta(hours=1)
    monkeypatch.setattr(doctor.timezone, "now", lambda: later)
    assert [finding.text for finding in doctor.orphans(True)][1:] == ["1 removed"]
    assert bucket.keys() == []
    with pytest.raises(FileNotFoundError):
        image_file(sha256).changed()


def test_an_object_with_other_bytes_is_kept_beside_its_successor(bucket: TestBucket) -> None:
    sha256 = store_image(b"picture")
    bucket.put(key_of(sha256), b"pic")
    store_image(b"picture")
    assert (bucket.get(key_of(sha256)), bucket.get(key_of(sha256, "damaged"))) == (b"picture", b"pic")


@pytest.mark.slow
@pytest.mark.django_db
def test_a_generated_study_whose_objects_are_lost_and_damaged(
    bucket: TestBucket, tmp_path: Path, settings: Any
) -> None:
    """One study for all of it, since its preparation takes long."""
    settings.VAR, settings.MEDIA_ROOT = tmp_path / "var", tmp_path / "images"
    study = make_draft(name="In a bucket", subset_size=24)
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY, list(study.stages.values_list("name", "error"))
    assert not (tmp_path / "images").exists()
    assert {key_of(sha256) for sha256 in Image.objects.values_list("sha256", flat=True)} <= set(bucket.keys())

    pair = Pair.objects.select_related("baseline_image", "candidate_image").first()
    assert pair is not None
    lost, damaged = key_of(pair.baseline_image.sha256), key_of(pair.candidate_image.sha256)
    before = {key: bucket.get(key) for key in (lost, damaged)}
    bucket.delete(lost)
    assert tasks.restore_pictures() == 1
    bucket.put(damaged, b"half a picture")
    bucket.delete(lost)
    output = io.StringIO()
    call_command("doctor", "--repair", stdout=output)
    assert "2 made again with equal bytes" in output.getvalue()
    assert {key: bucket.get(key) for key in before} == before
    assert bucket.get(key_of(pair.candidate_image.sha256, "damaged")) == b"half a picture"
