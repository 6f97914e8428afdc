"""Keeps how far a long run has come in a file, so that a run that is stopped goes on later."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Kept:
    """A JSON object in a file, or nowhere.

    Args:
        path: The file; ``None`` to keep nothing.
        run: What the run is, as JSON; a file of another run is refused.
    """

    def __init__(self, path: Path | None, run: dict[str, Any]) -> None:
        self._path = path
        self._run = run
        self._parts: dict[str, Any] = {}
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            if kept["run"] != run:
                raise SystemExit(f"{path} is of another run ({kept['run']}): name another file.")
            self._parts = kept["parts"]

    def part(self, name: str) -> Any:
        """Return what was saved last under ``name``, or ``None``."""
        return self._parts.get(name)

    def save(self, name: str, value: Any) -> None:
        """Save ``value``, which JSON can hold, in one step."""
        self._parts[name] = value
        if self._path is not None:
            fresh = self._path.with_name(self._path.name + ".new")
            fresh.write_text(json.dumps({"run": self._run, "parts": self._parts}))
            os.replace(fresh, self._path)
