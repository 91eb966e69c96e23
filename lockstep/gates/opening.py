"""What a source captured as a window opened, by digest, so that its end can be set against it."""

from lockstep.record import Digest32, Record


class OpenedAnswer(Record):
    query: str
    at_us: int
    raw: Digest32


class Opening(Record):
    """Empty where the source can be asked about the past, or where it could not be reached."""

    schema_version: str = "lockstep.opening.v1"
    reached: bool
    answers: list[OpenedAnswer]
