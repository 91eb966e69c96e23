"""The ``file`` source: the two sides stand ready in a JSON file that something else writes.

Format: ``{"canary": SIDE, "baseline": SIDE?, "custom": {…}?}`` with SIDE as in a snapshot
(docs/spec/gates.md §1). ``{environment}`` and ``{service}`` in the path are filled in.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lockstep.documents import DocumentError, Problem, check, parse_json
from lockstep.errors import DataError, UnavailableError
from lockstep.gates.snapshot import Custom, Side
from lockstep.ports import Answer, NowUs, Selection, Sides

BODY_MAX_BYTES = 4 * 1024 * 1024


class FileSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str


class FileDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    canary: Side
    baseline: Side | None = None
    custom: dict[str, Custom] | None = None


def open_file(settings: Mapping[str, Any]) -> "FileSource":
    """Raises DocumentError: DOCUMENT_INVALID, naming the field."""
    checked = check(FileSettings, dict(settings), _problems)
    return FileSource(checked.path)


def _problems(settings: FileSettings) -> list[Problem]:
    return [] if settings.path else [Problem(("path",), "a path is needed")]


def wall_clock_us() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class FileSource:
    """The file as it is when the window closes; nothing needs to be captured at its start."""

    path: str
    now_us: NowUs = wall_clock_us
    kind: str = "file"
    parser_version: str = "lockstep.file-source.v1"
    cannot: tuple[str, ...] = (
        "It cannot tell whether the file speaks of this window: who writes it must.",
    )

    def open(self, selection: Selection) -> Sequence[Answer]:
        return ()

    def close(self, selection: Selection, start_us: int, end_us: int) -> Sequence[Answer]:
        path = Path(
            self.path.replace("{environment}", selection.environment).replace(
                "{service}", selection.service
            )
        )
        try:
            with path.open("rb") as stream:
                body = stream.read(BODY_MAX_BYTES + 1)
        except OSError as error:
            raise UnavailableError(
                "SOURCE_UNREACHABLE", error.strerror or str(error), place=str(path)
            ) from None
        if len(body) > BODY_MAX_BYTES:
            raise UnavailableError(
                "SOURCE_UNREACHABLE", f"more than {BODY_MAX_BYTES} bytes", place=str(path)
            )
        return (Answer(f"read {path}", body, self.now_us()),)

    def parse(
        self, selection: Selection, opened: Sequence[Answer], closed: Sequence[Answer]
    ) -> Sides:
        answer = closed[-1]
        try:
            document = check(FileDocument, parse_json(answer.body, size_max_bytes=BODY_MAX_BYTES))
        except DocumentError as error:
            raise DataError("SOURCE_INVALID", error.cause, place=answer.query) from None
        value = document.model_dump(exclude_none=True)
        baseline = value.get("baseline") if selection.baseline else None
        return Sides(value["canary"], baseline, value.get("custom", {}))
