"""Resolve references to private keys. The value leaves this module only inside a SigningKey.

Development references: ``file:PATH``, a JSON key file that only its owner can read, and
``env:NAME``, a variable that holds the same JSON. Managed stores come as further schemes; a scheme
that is not built is refused by name. No message ever repeats what a reference holds.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockstep.errors import DataError, LockstepError, UnavailableError
from lockstep.trust import ed25519
from lockstep.trust.keys import KeyDescriptor, admit

KEY_FILE_SCHEMA = "lockstep.key-file.v1"
KEY_FILE_MAX_BYTES = 64 * 1024
DEVELOPMENT_SCHEMES = ("file", "env")
MANAGED_SCHEMES = ("aws-secretsmanager", "aws-kms", "vault")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that can sign. Its private half stays out of every representation."""

    descriptor: KeyDescriptor
    private_key: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        return self.descriptor.key_id


def _unresolved(reference: str, cause: str, hint: str = "") -> UnavailableError:
    return UnavailableError(
        "SECRET_UNRESOLVED", cause, place=reference, hint=hint or "check the reference"
    )


def is_reference(text: str) -> bool:
    """Whether ``text`` has the form of a reference, built or not."""
    scheme, _, name = text.partition(":")
    return bool(name) and scheme in (*DEVELOPMENT_SCHEMES, *MANAGED_SCHEMES)


def resolve_key(
    reference: str,
    *,
    development: bool,
    environ: Mapping[str, str] | None = None,
    purpose: str | None = None,
) -> SigningKey:
    """The signing key that ``reference`` names.

    ``development`` says whether the context allows ``file:`` and ``env:``; ``purpose``, where
    given, is what the key must be for.

    Raises:
        UnavailableError: SECRET_UNRESOLVED; no such file or variable, open to others, not built,
            or not allowed here.
        DataError: KEY_REFUSED; it is no key file, or a key of another purpose.
    """
    scheme, _, name = reference.partition(":")
    if scheme in MANAGED_SCHEMES:
        raise _unresolved(reference, f"{scheme}: is not built in this version")
    if scheme not in DEVELOPMENT_SCHEMES or not name:
        raise _unresolved(reference, "a reference is file:PATH or env:NAME")
    if not development:
        raise _unresolved(
            reference,
            f"{scheme}: references are for contexts marked development",
            "keep the key in a managed secret store",
        )
    text = _read_file(reference, Path(name)) if scheme == "file" else _read_env(name, environ)
    key = parse_key_file(text, place=reference)
    if purpose is not None and key.descriptor.purpose != purpose:
        raise DataError(
            "KEY_REFUSED",
            f"a key of purpose {key.descriptor.purpose}, not {purpose}",
            place=reference,
        )
    return key


def _at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe that nobody writes to would otherwise never open."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read_file(reference: str, path: Path) -> str:
    try:
        with open(path, "rb", opener=_at_once) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
                raise _unresolved(
                    reference, "not a file that only its owner can read", f"chmod 600 {path}"
                )
            data = file.read(KEY_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise _unresolved(reference, f"cannot be read: {error.strerror}") from None
    if len(data) > KEY_FILE_MAX_BYTES:
        raise _unresolved(reference, "too large for a key file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _unresolved(reference, "not a key file") from None


def _read_env(name: str, environ: Mapping[str, str] | None) -> str:
    value = (os.environ if environ is None else environ).get(name)
    if not value:
        raise _unresolved(f"env:{name}", "the variable is not set")
    return value


def key_file_text(key: SigningKey) -> str:
    """The JSON text of a key file; keep it where only its owner reads."""
    descriptor = key.descriptor.to_map()
    return json.dumps(
        {
            "schema_version": KEY_FILE_SCHEMA,
            "descriptor": {**descriptor, "public_key": key.descriptor.public_key.hex()},
            "private_key": key.private_key.hex(),
        },
        indent=2,
    )


def parse_key_file(text: str, *, place: str) -> SigningKey:
    """Read a key file and hold its two halves together.

    Raises:
        DataError: KEY_REFUSED; never quoting the text.
    """
    try:
        document = json.loads(text)
        if set(document) != {"schema_version", "descriptor", "private_key"}:
            raise ValueError
        if document["schema_version"] != KEY_FILE_SCHEMA:
            raise ValueError
        fields: dict[str, Any] = dict(document["descriptor"])
        fields["public_key"] = bytes.fromhex(fields["public_key"])
        descriptor = admit(KeyDescriptor.from_map(fields, place=place))
        private_key = bytes.fromhex(document["private_key"])
        if ed25519.public_of(private_key) != descriptor.public_key:
            raise ValueError
    except LockstepError as error:
        raise DataError("KEY_REFUSED", error.cause, place=place) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        # NOTE: the cause of a parse error may quote the text, and the text holds the key.
        raise DataError(
            "KEY_REFUSED", "not a key file whose two halves belong together", place=place
        ) from None
    return SigningKey(descriptor=descriptor, private_key=private_key)


def write_key_file(path: Path, key: SigningKey) -> None:
    """Create a key file with mode 0600; an existing one is never replaced.

    Raises:
        DataError: USAGE; the file exists or cannot be created.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        handle = os.open(path, flags, 0o600)
    except FileExistsError:
        raise DataError(
            "USAGE", "the file exists and is not replaced", place=str(path), hint="choose another"
        ) from None
    except OSError as error:
        raise DataError("USAGE", f"cannot be created: {error.strerror}", place=str(path)) from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(key_file_text(key) + "\n")
        file.flush()
        os.fsync(file.fileno())
