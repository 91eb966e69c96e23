"""The client's settings: one context out of ``lockstep.toml``, then ``LOCKSTEP_*`` on top.

Pure: the caller reads the file (``client.settings_file``) and passes bytes, the folder they
lie in and the environment. Secrets appear only as references to where they are kept.
"""

import posixpath
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from lockstep.documents import DocumentError, Problem, check, unknown_key
from lockstep.errors import DataError
from lockstep.record import DigestText, Name

ENVIRONMENT = {
    "LOCKSTEP_TENANT": "tenant_id",
    "LOCKSTEP_STORE": "store",
    "LOCKSTEP_STORE_ENDPOINT": "store_endpoint",
    "LOCKSTEP_TEMPORAL_ADDRESS": "temporal_address",
    "LOCKSTEP_NAMESPACE": "namespace",
    "LOCKSTEP_UI_URL": "ui_url",
    "LOCKSTEP_OTLP_ENDPOINT": "otlp_endpoint",
    "LOCKSTEP_POLICY": "policy",
    "LOCKSTEP_PROFILE": "profile",
}
"""Variable → the field it overrides."""

MANAGED_SCHEMES = ("aws-secretsmanager:", "aws-kms:", "vault:")
DEVELOPMENT_SCHEMES = ("file:", "env:")
SETTINGS_MAX_BYTES = 256 * 1024

Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Context(BaseModel):
    """Where one client works: tenant, server, store, and the documents it starts with."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Text
    tenant_id: Name
    namespace: Text = "default"
    temporal_address: Text = "127.0.0.1:7233"
    ui_url: Text | None = None
    store: Text
    store_endpoint: Text | None = None
    development: bool = False
    policy: Text | None = None
    profile: Text | None = None
    trust_root: DigestText | None = None
    """Digest of the one trust root that this client believes."""
    keys: dict[str, Text] = Field(default_factory=dict)
    """Purpose → reference to the private key, never the key."""
    otlp_endpoint: Text | None = None
    source: dict[str, str] = Field(default_factory=dict)
    """Field → where its value came from: ``default``, the file's table, or the variable."""


def load_context(
    toml_bytes: bytes,
    name: str | None,
    environ: Mapping[str, str],
    *,
    folder: str = ".",
    place: str = "lockstep.toml",
) -> Context:
    """The context called ``name`` (None: the file's ``current``), overridden by ``environ``.

    Relative paths in the file are relative to ``folder`` and come back resolved; those in
    ``environ`` are left as they are.

    Raises:
        DataError: CONTEXT_INVALID; unreadable, no such context, a field that breaks the schema,
            or a secret reference that only a development context may hold.
    """
    document = _parse(toml_bytes, place)
    contexts = document["contexts"]
    chosen = name if name is not None else document.get("current")
    if chosen is None:
        raise _invalid(place, "current", "is required when no context is named", contexts)
    if chosen not in contexts:
        raise _invalid(place, "current", f"there is no context {chosen!r}", contexts)
    table = contexts[chosen]
    written = {field: _resolved(field, value, folder) for field, value in table.items()}
    source = dict.fromkeys(written, f"{place} [contexts.{chosen}]")
    for variable, field in ENVIRONMENT.items():
        if environ.get(variable):
            written[field] = environ[variable]
            source[field] = variable
    try:
        return check(
            Context,
            {"name": chosen, **written, "source": _with_defaults(source)},
            _problems,
        )
    except DocumentError as error:
        found = [Problem(("contexts", chosen, *item.field), item.why) for item in error.problems]
        raise DocumentError(
            found, code="CONTEXT_INVALID", place=place, hint="mend the context"
        ) from None


def _with_defaults(source: dict[str, str]) -> dict[str, str]:
    fields = [field for field in Context.model_fields if field not in ("name", "source")]
    return {field: source.get(field, "default") for field in fields}


def _parse(data: bytes, place: str) -> dict[str, Any]:
    if len(data) > SETTINGS_MAX_BYTES:
        raise DataError("CONTEXT_INVALID", f"more than {SETTINGS_MAX_BYTES} bytes", place=place)
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError names line and column
        raise DataError("CONTEXT_INVALID", f"not TOML: {error}", place=place) from None
    for key in document:
        if key not in ("current", "contexts"):
            raise DataError(
                "CONTEXT_INVALID",
                f"{key}: {unknown_key(key, ['current', 'contexts'])}",
                place=place,
            )
    contexts = document.get("contexts")
    if not isinstance(contexts, dict) or not contexts:
        raise DataError(
            "CONTEXT_INVALID",
            "contexts: a table [contexts.NAME] is required",
            place=place,
            hint="client dev up writes one",
        )
    for name, table in contexts.items():
        if not isinstance(table, dict):
            raise _invalid(place, f"contexts.{name}", "is a table", contexts)
        for reserved in ("name", "source"):
            if reserved in table:
                raise _invalid(place, f"contexts.{name}.{reserved}", "unknown key", contexts)
    return document


def _invalid(place: str, field: str, why: str, contexts: Mapping[str, Any]) -> DataError:
    hint = f"contexts here: {', '.join(contexts)}"
    return DataError("CONTEXT_INVALID", f"{field}: {why}", place=place, hint=hint)


def _resolved(field: str, value: Any, folder: str) -> Any:
    """Paths of the file made absolute to its folder; anything else unchanged."""
    if field in ("policy", "profile") and isinstance(value, str) and value:
        return _path(value, folder)
    if field == "store" and isinstance(value, str) and value:
        if value.startswith("file://"):
            return "file://" + _path(value[7:], folder)
        return value if "://" in value else "file://" + _path(value, folder)
    if field == "keys" and isinstance(value, dict):
        return {
            purpose: "file:" + _path(reference[5:], folder)
            if isinstance(reference, str) and reference.startswith("file:")
            else reference
            for purpose, reference in value.items()
        }
    return value


def _path(text: str, folder: str) -> str:
    return posixpath.normpath(posixpath.join(folder, text))


def _problems(context: Context) -> list[Problem]:
    found = []
    for purpose, reference in context.keys.items():
        if reference.startswith(MANAGED_SCHEMES):
            continue
        if not reference.startswith(DEVELOPMENT_SCHEMES):
            why = f"a reference begins with {', '.join(MANAGED_SCHEMES + DEVELOPMENT_SCHEMES)}"
            found.append(Problem(("keys", purpose), why))
        elif not context.development:
            why = "file: and env: references need development = true"
            found.append(Problem(("keys", purpose), why))
    return found
