"""A server of buckets for the module, a bucket for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from evenhand.studies.lifecycle import open_study
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.buckets import TestBucket, s3_server, use_bucket
from tests.helpers.factories import make_ready_study
from tests.helpers.visitors import Visitor


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "server.log") as address:
        yield address


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, settings: Any) -> TestBucket:
    return use_bucket(s3, monkeypatch, settings)


@pytest.fixture
def visitor(bucket: TestBucket, client: Client, db: None) -> Visitor:
    """Grace, in front of her first trial, whose pictures lie in the bucket."""
    study = make_ready_study()
    open_study(study)
    grace = enrol(study, note="Grace")
    consent(grace)
    grace.refresh_from_db()
    return Visitor(client, grace)
