"""Collect static files for production: JavaScript without comments, hashed names, compressed copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rjsmin
from django.contrib.staticfiles.storage import HashedFilesMixin
from whitenoise.storage import CompressedManifestStaticFilesStorage

OWN_FOLDERS = ("rating", "console")
IMPORTS = HashedFilesMixin._js_module_import_aggregation_patterns[1]  # type: ignore[attr-defined]


class CollectedFiles(CompressedManifestStaticFilesStorage):
    """Files whose names carry their content's hash, so that browsers keep them for good; imports name them too."""

    # Django rewrites the imports of all scripts or of none; those of packages name files that are not there.
    patterns = (
        *HashedFilesMixin.patterns,
        *((f"{folder}/*.js", IMPORTS) for folder in OWN_FOLDERS),
    )

    def post_process(self, paths: dict[str, Any], dry_run: bool = False, **options: Any) -> Iterator[Any]:
        """Strip comments and space from the application's own scripts, then hash and compress everything."""
        if not dry_run:
            for name in paths:
                if name.startswith(OWN_FOLDERS) and name.endswith(".js"):
                    file = Path(self.path(name))
                    file.write_text(rjsmin.jsmin(file.read_text(encoding="utf-8")), encoding="utf-8")
                    paths[name] = (self, name)  # the copy, not the source
        yield from super().post_process(paths, dry_run, **options)
