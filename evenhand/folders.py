"""In a checkout, let a folder's own name lead to the package's module: ``generation`` is ``evenhand.generation``.

Scripts, notebooks and service files that say ``generation.guidance`` or ``config.wsgi`` then get the same modules.
Without this they would get a second copy of each, whose classes are not those of the first.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from types import CodeType, ModuleType
from typing import Any


class _Folder(MetaPathFinder, Loader):
    """Finds ``folder.module`` as ``evenhand.folder.module``."""

    def __init__(self, folder: str) -> None:
        self.prefix = f"{folder}."

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A spec of the module under its short name; none for other names, and for what does not exist."""
        spec = find_spec(f"evenhand.{fullname}") if fullname.startswith(self.prefix) else None
        return None if spec is None else spec_from_loader(fullname, self, origin=spec.origin)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The package's own module."""
        self.spec = find_spec(f"evenhand.{spec.name}")
        return import_module(f"evenhand.{spec.name}")

    def exec_module(self, module: ModuleType) -> None:
        """It has run already; only its spec, which the import replaced, is put back."""
        module.__spec__ = self.spec

    def get_code(self, fullname: str) -> CodeType | None:
        """The module's code, for ``python -m``."""
        spec = find_spec(f"evenhand.{fullname}")
        return spec.loader.get_code(spec.name) if spec is not None else None  # type: ignore[union-attr]


def lead_to_package(folder: str) -> None:
    """Make ``folder`` and everything under it the modules of ``evenhand.folder``."""
    sys.meta_path.insert(0, _Folder(folder))
    sys.modules[folder] = import_module(f"evenhand.{folder}")
