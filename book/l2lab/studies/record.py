"""Result files: what a study has measured is kept row by row, with when, where and of what it was made."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..compare.judge import provenance

__all__ = ["FOLDER", "RESULTS", "Record", "code_hash", "hash_of", "provenance", "write"]

# What the book shows, and where a run puts its results unless it is told to replace that.
RESULTS = Path(__file__).resolve().parents[2] / "results"
FOLDER = Path("_build/studies")
# No study that keeps a record measures with these.
UNUSED = {"bench", "dark", "explore", "plots", "progress", "prune", "studies"}
STAMP = ("code", "data", "settings")


def code_hash(*studies: str) -> str:
    """Hash the source that `studies` of this folder measure with: the package below them, and their own."""
    package = Path(__file__).resolve().parents[1]
    files = [
        path
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).parts[0].removesuffix(".py") not in UNUSED
    ]
    files += [package / "studies" / f"{name}.py" for name in sorted(studies)]
    return hash_of(*(path.read_text("utf-8") for path in files))


def hash_of(*parts: str) -> str:
    """Hash texts: 16 hex digits of a SHA-256."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Record:
    """A result file that remembers: a measurement is repeated only if code, data or settings have changed.

    Rows without these three, as older files have them, are never used again. Until a run is complete, its
    rows are in a file beside the old one whose name ends with ``.partial``; the next run goes on from there.
    """

    def __init__(self, path: str | Path, code: str) -> None:
        self.path, self.code = Path(path), code
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, list[dict[str, Any]]] = {}
        self.used: list[dict[str, Any]] = []
        stored = json.loads(self.path.read_text("utf-8")) if self.path.exists() else {}
        for part in stored.values():
            for row in part if isinstance(part, list) else ():
                if isinstance(row, dict) and row.keys() >= set(STAMP):
                    self.known.setdefault(_key(row), []).append(row)
        for line in self.partial.read_text("utf-8").splitlines() if self.partial.exists() else ():
            try:
                rows = json.loads(line)
            except ValueError:  # the run was killed while it wrote this line
                continue
            self.known[_key(rows[0])] = rows

    def rows(
        self, settings: dict[str, Any], data: str, measure: Callable[[], list[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Return the rows of a measurement, dicts for a JSON file; it is made only if there are none.

        `settings` is all that decides the result besides the code and the `data`, a hash of them; no two
        measurements of a study have the same.
        """
        stamp = {"code": self.code, "data": data, "settings": settings}
        key = _key(stamp)
        if key not in self.known:
            start = time.perf_counter()
            rows = measure()
            made = {"when": datetime.now(UTC).isoformat(timespec="seconds"), **provenance()}
            del made["date"]
            rows = [{**row, **made, **stamp} for row in rows]
            if rows:
                with self.partial.open("a", encoding="utf-8") as file:
                    file.write(f"\n{json.dumps(rows, ensure_ascii=False)}\n")
            self.known[key] = rows
            about = ", ".join(f"{value}" for value in settings.values() if isinstance(value, str | int))
            print(f"{about}: {time.perf_counter() - start:.1f} s", flush=True)
        self.used += self.known[key]
        return self.known[key]

    def finish(self, content: dict[str, Any]) -> dict[str, Any]:
        """Write the file of a complete run; date, machine and versions become those of its rows."""
        content = {**content, "date": max(row["when"] for row in self.used)[:10]}
        for name in provenance().keys() - {"date"}:
            content[name] = ", ".join(sorted({row[name] for row in self.used}))
        write(self.path, content)
        self.partial.unlink(missing_ok=True)
        print(f"wrote {self.path}")
        return content


def _key(stamped: dict[str, Any]) -> str:
    return json.dumps([stamped[name] for name in STAMP], sort_keys=True)


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result file, a row of a table per line: a change shows as a line in a diff."""
    parts = []
    for key, value in result.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            text = "[\n" + ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in value) + "\n ]"
        else:
            text = json.dumps(value, indent=1, ensure_ascii=False).replace("\n", "\n ")
        parts.append(f" {json.dumps(key)}: {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    os.replace(unfinished, path)
