"""Say where pictures and uploads lie: in the folder of EVENHAND_VAR, or in an S3-compatible bucket."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

FOLDER = "evenhand.studies.stores.folder.SyncedFolder"
BUCKET = "evenhand.studies.stores.bucket.Bucket"


def picture_stores(address: str) -> dict[str, dict[str, Any]]:
    """Return Django's settings of the stores ``pictures`` and, in a bucket, ``uploads``.

    address: ``s3://bucket/prefix``, or empty for the folder. Raises ``ImproperlyConfigured``.
    """
    if not address:
        return {"pictures": {"BACKEND": FOLDER}}
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise ImproperlyConfigured("EVENHAND_STORAGE must look like s3://bucket/prefix")
    if find_spec("storages") is None or find_spec("boto3") is None:
        raise ImproperlyConfigured("EVENHAND_STORAGE names a bucket: install the packages for it, evenhand[s3]")
    prefix = parts.path.strip("/")
    return {
        name: {
            "BACKEND": BUCKET,
            "OPTIONS": {"bucket_name": parts.netloc, "location": f"{prefix}/{folder}".lstrip("/")},
        }
        for name, folder in (("pictures", "images"), ("uploads", "uploads"))
    }
