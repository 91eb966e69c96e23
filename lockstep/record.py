"""Closed CBOR maps as frozen models: what the writer emits the reader accepts, nothing else."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lockstep import cbor
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError

Digest32 = Annotated[bytes, Field(min_length=32, max_length=32)]
"""A digest as it stands in a record: 32 raw bytes."""

DigestText = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A digest as it stands in JSON, YAML and messages."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""Tenant, service, environment and target names: one safe path component."""

Utc = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
"""A time as ``YYYY-MM-DDTHH:MM:SSZ``."""


def first_problem(error: ValidationError) -> tuple[str, str]:
    """(field path, sentence) of the first problem pydantic found."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ".".join(str(part) for part in problem["loc"]) or "(document)", problem["msg"]


class Record(BaseModel):
    """A closed map stored as canonical CBOR. An absent optional field is omitted, never null."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def to_map(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)

    def to_bytes(self) -> bytes:
        return cbor.encode(self.to_map())

    def digest(self) -> bytes:
        """Object digest of the stored form."""
        return sha256(self.to_bytes())

    @classmethod
    def from_map(cls, value: Any, *, place: str = "") -> Self:
        """Validate a decoded map.

        Raises:
            DataError: RECORD_INVALID, naming the field.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            field, why = first_problem(error)
            raise DataError(
                "RECORD_INVALID", f"{cls.__name__}.{field}: {why}", place=place
            ) from None

    @classmethod
    def from_bytes(cls, data: bytes, *, place: str = "") -> Self:
        """Read the stored form; anything that this class would not write is refused."""
        record = cls.from_map(cbor.decode(data), place=place)
        if record.to_bytes() != data:
            raise DataError(
                "RECORD_INVALID", f"{cls.__name__}: not the form it is written in", place=place
            )
        return record


def to_json_value(value: Any) -> Any:
    """JSON twin of a decoded record: 32-byte strings as ``sha256:…``, other bytes as hex."""
    if type(value) is bytes:
        return to_text(value) if len(value) == 32 else value.hex()
    if type(value) is dict:
        return {key: to_json_value(item) for key, item in value.items()}
    if type(value) is list:
        return [to_json_value(item) for item in value]
    return value
