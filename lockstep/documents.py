"""Documents that people write, checked: every problem at once, each with its field.

The core knows fields, not files: ``client.files`` adds file and line to a ``DocumentError``.
Unknown keys name what is allowed and, where one is close, what was probably meant.
"""

import difflib
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lockstep.errors import DataError

FieldPath = tuple[str | int, ...]
DOCUMENT_MAX_BYTES = 1024 * 1024
PROBLEMS_MAX = 20

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: where and why."""

    field: FieldPath
    why: str

    def __str__(self) -> str:
        return f"{field_text(self.field)}: {self.why}"


class DocumentError(DataError):
    """A document that breaks its schema, with all its problems."""

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        code: str = "DOCUMENT_INVALID",
        place: str = "",
        hint: str = "mend the named field",
    ) -> None:
        self.problems = tuple(problems)[:PROBLEMS_MAX]
        super().__init__(code, "\n".join(map(str, self.problems)), place=place, hint=hint)

    def located(self, file: str, lines: Mapping[FieldPath, int]) -> "DocumentError":
        """The same error with ``file:line`` before every problem; ``lines`` maps fields to lines.

        A field that has no line of its own (a missing key) stands at its nearest parent's.
        """
        places = [f"{file}{_line(problem.field, lines)}" for problem in self.problems]
        error = DocumentError(self.problems, code=self.code, place=places[0], hint=self.hint)
        texts = [str(self.problems[0])]
        texts += [
            f"{where}: {problem}"
            for where, problem in zip(places[1:], self.problems[1:], strict=True)
        ]
        error.cause = "\n".join(texts)
        error.args = (error.cause,)
        return error


def _line(field: FieldPath, lines: Mapping[FieldPath, int]) -> str:
    for length in range(len(field), -1, -1):
        if field[:length] in lines:
            return f":{lines[field[:length]]}"
    return ""


def field_text(field: FieldPath) -> str:
    """``environments[0].name``; ``(document)`` for the whole."""
    text = ""
    for part in field:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(document)"


def check(model: type[M], data: Any, more: Callable[[M], list[Problem]] | None = None) -> M:
    """Validate ``data`` against the closed ``model``, then by the rules ``more``.

    Raises:
        DocumentError: DOCUMENT_INVALID with every problem found.
    """
    try:
        value = model.model_validate(data)
    except ValidationError as error:
        raise DocumentError(problems_of(model, error)) from None
    problems = more(value) if more else []
    if problems:
        raise DocumentError(problems)
    return value


def problems_of(model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """What pydantic found, in sentences for the person who wrote the document."""
    found = []
    items = error.errors(include_url=False, include_context=False)
    # An unknown key first: a mistyped name is also the cause of the field that seems to be missing.
    for item in sorted(items, key=lambda item: item["type"] != "extra_forbidden"):
        field = tuple(item["loc"])
        if item["type"] == "extra_forbidden":
            why = unknown_key(str(field[-1]), _names_at(model, field[:-1]))
        elif item["type"] == "missing":
            why = "is required"
        else:
            why = item["msg"][0].lower() + item["msg"][1:]
            if isinstance(item["input"], str | int | float):
                why += f", not {item['input']!r:.60}"
        found.append(Problem(field, why))
    return found


def unknown_key(name: str, allowed: Sequence[str]) -> str:
    """The sentence for a key that the schema does not have."""
    close = difflib.get_close_matches(name, allowed, n=1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    return f"unknown key{meant}; allowed: {', '.join(allowed)}"


def _names_at(model: Any, field: FieldPath) -> list[str]:
    """Names of the fields of the model that ``field`` leads to."""
    for part in field:
        kind = _plain(model)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if str(part) not in kind.model_fields:
                return []
            model = kind.model_fields[str(part)].annotation
        else:
            inner = typing.get_args(kind)
            if not inner:
                return []
            model = inner[-1]
    kind = _plain(model)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _plain(kind: Any) -> Any:
    """``X`` of ``X | None`` and of ``Annotated[X, …]``."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _plain(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return _plain(next(arg for arg in typing.get_args(kind) if arg is not type(None)))
    return kind


def parse_json(data: bytes, *, size_max_bytes: int = DOCUMENT_MAX_BYTES) -> Any:
    """The value of a JSON text. Duplicate keys are refused; NaN and ±Infinity become floats.

    Raises:
        DocumentError: DOCUMENT_INVALID; not UTF-8 JSON, too large or too deep.
    """
    if len(data) > size_max_bytes:
        raise DocumentError([Problem((), f"larger than {size_max_bytes} bytes")])
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_distinct)
    except UnicodeDecodeError:
        raise DocumentError([Problem((), "not UTF-8 text")]) from None
    except RecursionError:
        raise DocumentError([Problem((), "nested too deep")]) from None
    except ValueError as error:  # a JSONDecodeError names line and column
        raise DocumentError([Problem((), f"not JSON: {error}")]) from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DocumentError([Problem((key,), "duplicate key")])
            seen.add(key)
    return value
