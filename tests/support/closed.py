"""Folders that nobody may enter: permissions do not keep out root, as which tests may run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def close_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the system refuse whatever lies in a folder, as it does where its mode is 0."""

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *args: Any, **options: Any) -> Any:
            if folder.absolute() in path.absolute().parents:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **options)

        return call

    for name in ("stat", "open", "read_text", "read_bytes"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))
