"""Files that people give to commands: found, read, and every error placed at file and line.

YAML is composed to nodes and turned into values here, so that each field has a line, a duplicate
key, an alias or a tag is refused, and no constructor of the library ever runs.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lockstep import cbor
from lockstep.documents import (
    DOCUMENT_MAX_BYTES,
    DocumentError,
    FieldPath,
    Problem,
    parse_json,
)
from lockstep.errors import DataError, LockstepError
from lockstep.gates.snapshot import SnapshotReading, read_snapshot_bytes
from lockstep.policy import Policy, resolve_policy
from lockstep.profile import EnvironmentProfile, resolve_profile

if TYPE_CHECKING:
    from ruamel.yaml.nodes import MappingNode, Node

YAML_DEPTH_MAX = 32

Lines = dict[FieldPath, int]
Document = TypeVar("Document")


def read_file(path: Path, *, size_max_bytes: int = DOCUMENT_MAX_BYTES) -> bytes:
    """The bytes of a file, never more than ``size_max_bytes``.

    Raises:
        DataError: DOCUMENT_INVALID; absent, not a plain file, unreadable or too large.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(0, "not a plain file")
            data = file.read(size_max_bytes + 1)
    except OSError as error:
        raise DataError(
            "DOCUMENT_INVALID", f"cannot be read: {error.strerror}", place=str(path)
        ) from None
    if len(data) > size_max_bytes:
        raise DataError("DOCUMENT_INVALID", f"larger than {size_max_bytes} bytes", place=str(path))
    return data


def _at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe that nobody writes to would otherwise never open."""
    return os.open(path, flags | os.O_NONBLOCK)


def path_of(text: str) -> Path:
    """The path that an argument spells; nothing need be there.

    Raises:
        DataError: USAGE; empty, or what the system cannot even look up.
    """
    if not text.strip():
        raise DataError("USAGE", "the argument is empty")
    path = Path(text)
    try:
        path.exists()
    except OSError as error:
        raise DataError("USAGE", f"{text[:80]!r}: {error.strerror}") from None
    return path


def read_policy(path: Path) -> Policy:
    """The resolved policy of a file in YAML, JSON or CBOR.

    Raises:
        DataError: DOCUMENT_INVALID or CBOR_INVALID at ``file:line``.
    """
    return _read_document(path, resolve_policy)


def read_profile(path: Path) -> EnvironmentProfile:
    """The resolved environment profile of a file in YAML, JSON or CBOR.

    Raises:
        DataError: DOCUMENT_INVALID or CBOR_INVALID at ``file:line``.
    """
    return _read_document(path, resolve_profile)


def read_snapshot(path: Path) -> SnapshotReading:
    """The snapshot of a file in CBOR or JSON.

    Raises:
        DataError: DOCUMENT_INVALID, CBOR_INVALID or SNAPSHOT_INVALID, with the file.
    """
    data = read_file(path, size_max_bytes=cbor.SIZE_MAX_BYTES)
    try:
        return read_snapshot_bytes(data)
    except DataError as error:
        error.place = error.place or str(path)
        raise


def load_yaml(path: Path) -> tuple[Any, Lines]:
    """The value of a YAML file, and the line of each of its fields.

    Raises:
        DataError: DOCUMENT_INVALID at ``file:line``.
    """
    return parse_yaml(read_file(path), str(path))


def _read_document(path: Path, resolve: Callable[[Any], Document]) -> Document:
    data, name = read_file(path), str(path)
    if b"\xa0" <= data[:1] < b"\xc0":  # the head of a CBOR map, which no UTF-8 text begins with
        try:
            return resolve(cbor.decode(data))
        except LockstepError as error:
            error.place = name
            raise
    value, lines = _parse_text(data, name)
    try:
        return resolve(value)
    except DocumentError as error:
        raise error.located(name, lines) from None


def _parse_text(data: bytes, name: str) -> tuple[Any, Lines]:
    """JSON where it is that, else YAML, which also knows the lines of nearly all JSON."""
    if data.lstrip()[:1] != b"{":
        return parse_yaml(data, name)
    try:
        value = parse_json(data)
    except DocumentError:
        return parse_yaml(data, name)  # a flow map; or JSON that is broken, told with its line
    try:
        _, lines = parse_yaml(data, name)
    except DataError:  # a tab between tokens, which YAML forbids and JSON allows
        lines = {}
    return value, lines


def parse_yaml(data: bytes, name: str) -> tuple[Any, Lines]:
    """The value of YAML bytes, and the line (from 1) of each of its fields.

    Raises:
        DataError: DOCUMENT_INVALID at ``name:line``; not one plain YAML document.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(data) > DOCUMENT_MAX_BYTES:
        raise _refused(name, None, f"larger than {DOCUMENT_MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
        _refuse_depth(text, name)
        node = YAML(typ="safe", pure=True).compose(text)
    except UnicodeDecodeError:
        raise _refused(name, None, "not UTF-8 text") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise _refused(name, line, f"not YAML: {error.problem or error.context}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise _refused(name, None, f"not YAML: {str(error).splitlines()[0]}") from None
    if node is None:
        raise _refused(name, 1, "an empty document")
    return _Reader(name).read(node)


def _refuse_depth(text: str, name: str) -> None:
    """Refuse what would send the library's recursive parser deep, before it parses anything.

    Flow brackets are counted roughly (those in text count too), block depth by indentation.
    """
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        depth += sum(line.count(c) for c in "[{") - sum(line.count(c) for c in "]}")
        indent = len(line) - len(line.lstrip(" -?"))
        if depth > YAML_DEPTH_MAX or indent > 8 * YAML_DEPTH_MAX or line.count("[") > 1000:
            raise _refused(name, number, f"nested deeper than {YAML_DEPTH_MAX} levels")
    if depth > YAML_DEPTH_MAX:
        raise _refused(name, None, f"nested deeper than {YAML_DEPTH_MAX} levels")


def _refused(name: str, line: int | None, why: str, field: FieldPath = ()) -> DataError:
    place = f"{name}:{line}" if line else name
    return DocumentError([Problem(field, why)], place=place)


_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_TAG = "tag:yaml.org,2002:"


class _Reader:
    """Turns one document's nodes into values and remembers the line of every field."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: Lines = {}
        self.seen: set[int] = set()

    def read(self, node: "Node") -> tuple[Any, Lines]:
        self.lines[()] = _line_of(node)
        return self._value(node, ()), self.lines

    def _refuse(self, node: "Node", field: FieldPath, why: str) -> DataError:
        return _refused(self.name, _line_of(node), why, field)

    def _value(self, node: "Node", at: FieldPath) -> Any:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        if id(node) in self.seen:  # the composer hands out one node for an anchor and its aliases
            raise self._refuse(node, at, "anchors and aliases are not read")
        self.seen.add(id(node))
        if len(at) > YAML_DEPTH_MAX:
            raise self._refuse(node, at, f"nested deeper than {YAML_DEPTH_MAX} levels")
        if isinstance(node, MappingNode) and _tag(node) == _TAG + "map":
            return dict(self._pairs(node, at))
        if isinstance(node, SequenceNode) and _tag(node) == _TAG + "seq":
            for index, item in enumerate(node.value):
                self.lines[(*at, index)] = _line_of(item)
            return [self._value(item, (*at, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, at)

    def _pairs(self, node: "MappingNode", at: FieldPath) -> Iterator[tuple[str, Any]]:
        names: set[str] = set()
        for key_node, value_node in node.value:
            key = self._scalar(key_node, at)
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise self._refuse(key_node, at, "a key is text")
            # Settings may use a number as a name; the documents know text keys only.
            key = str(key)
            field = (*at, key)
            if key in names:
                raise self._refuse(key_node, field, "duplicate key")
            names.add(key)
            self.lines[field] = _line_of(key_node)
            yield key, self._value(value_node, field)

    def _scalar(self, node: "Node", at: FieldPath) -> Any:
        tag, text = _tag(node), node.value
        if not tag.startswith(_TAG) or not isinstance(text, str):
            raise self._refuse(node, at, f"the tag {tag} is not read")
        kind = tag.removeprefix(_TAG)
        if kind in ("str", "timestamp", "merge", "value"):
            return text
        if kind == "null":
            return None
        if kind == "bool":
            if text.lower() not in ("true", "false"):  # an old directive would read "yes" so
                raise self._refuse(node, at, f"write {text[:30]!r} as true or false")
            return text.lower() == "true"
        if kind == "int":
            if not _DECIMAL.fullmatch(text) or len(text) > 30:
                raise self._refuse(node, at, f"write {text[:30]!r} as a plain decimal number")
            return int(text)
        if kind == "float":
            return self._float(node, at)
        raise self._refuse(node, at, f"the tag !!{kind} is not read")

    def _float(self, node: "Node", at: FieldPath) -> float:
        try:
            return float(node.value.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            why = f"{node.value[:30]!r} is not a decimal number"
            raise self._refuse(node, at, why) from None


def _tag(node: "Node") -> str:
    return str(node.tag)


def _line_of(node: "Node") -> int:
    return int(node.start_mark.line) + 1
