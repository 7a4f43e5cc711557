"""What an offline run of Weights & Biases holds, read back from its files."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from wandb.proto.wandb_internal_pb2 import Record

SECONDS_TO_CLOSE = 900
BLOCK, HEADER = 32_768, 7
"""Of the file format: LevelDB's log, after a header of its own."""


@dataclass
class OfflineRun:
    """One ``offline-run-*`` folder: what was logged, in order, and what ``wandb.init`` was told."""

    folder: Path
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    config: dict[str, Any]
    name: str
    group: str
    job_type: str
    run_id: str
    is_closed: bool = False

    def logged(self, key: str) -> list[Any]:
        """All values of a key, in order."""
        return [entry[key] for entry in self.history if key in entry]

    def table(self, key: str) -> pd.DataFrame:
        """The last table under a key."""
        content = json.loads(self.file(key).read_text())
        return pd.DataFrame(content["data"], columns=content["columns"])

    def file(self, key: str) -> Path:
        """The file of the last picture, page or table under a key."""
        return self.folder / "files" / str(self.logged(key)[-1]["path"])


def offline_runs(root: Path) -> list[OfflineRun]:
    """All offline runs under a folder, the oldest first; each has been closed."""
    return [
        _closed(path) for path in sorted(root.rglob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    ]


def _closed(path: Path) -> OfflineRun:
    """A run, when all of it is written: a process of wandb's own writes, which may come after the one that logged."""
    deadline = time.monotonic() + SECONDS_TO_CLOSE
    while not (found := _read(path)).is_closed:
        assert time.monotonic() < deadline, f"{path} was not closed"
        time.sleep(0.05)
    return found


def _read(path: Path) -> OfflineRun:
    found = OfflineRun(path.parent, [], {}, {}, "", "", "", "")
    for data in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.name, found.group = record.run.display_name, record.run.run_group
            found.job_type, found.run_id = record.run.job_type, record.run.run_id
            found.config.update({item.key: json.loads(item.value_json) for item in record.run.config.update})
        elif kind == "config":
            found.config.update({item.key: json.loads(item.value_json) for item in record.config.update})
        elif kind == "exit":
            found.is_closed = True
        elif kind == "history":
            found.history.append(_values(record.history.item))
        elif kind == "summary":
            found.summary.update(_values(record.summary.update))
    return found


def _values(items: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        *places, name = item.nested_key or [item.key]
        part = found
        for place in places:
            part = part.setdefault(place, {})
        part[name] = json.loads(item.value_json)
    return found


def _records(content: bytes) -> Iterator[bytes]:
    place, parts = HEADER, []
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:  # the rest of a block is padding
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + HEADER])
        if place + HEADER + length > len(content):  # it is just being written
            return
        parts.append(content[place + HEADER : place + HEADER + length])
        place += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []
