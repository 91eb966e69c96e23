"""The operator registry, built from the real message models (spec bytes §9).

Its object digest is ``operator_contracts_root_hash``: a certificate binds the very shapes of the
requests and answers that carried the release. ``EARLIER_ROOTS`` lists roots of earlier versions
whose surface is unchanged; any of them satisfies the equality.
"""

from functools import cache
from typing import Any

from pydantic import BaseModel

from lockstep import cbor
from lockstep import messages as m
from lockstep.digest import h, sha256
from lockstep.error_codes import ERROR_CODES
from lockstep.error_record import ErrorRecord

PREFLIGHT = "UML_OS.Deploy.PreflightChecks_v1"
ROLLOUT = "UML_OS.Deploy.ExecuteRollout_v1"
GATES = "UML_OS.Deploy.EvaluateHealthGates_v1"
ROLLBACK = "UML_OS.Deploy.ExecuteRollback_v1"
ERROR_EMIT = "UML_OS.Error.Emit_v1"

EARLIER_ROOTS: frozenset[bytes] = frozenset()


_OPERATORS: tuple[tuple[str, type[BaseModel], type[BaseModel], dict[str, Any]], ...] = (
    (
        PREFLIGHT,
        m.PreflightRequest,
        m.PreflightResult,
        {"side_effects": ["store"], "required_capabilities": ["rollout.start"]},
    ),
    (
        ROLLOUT,
        m.RolloutRequest,
        m.RolloutResult,
        {"side_effects": ["store", "target"], "required_capabilities": ["rollout.start"]},
    ),
    (
        GATES,
        m.EvaluateRequest,
        m.EvaluateResult,
        {"side_effects": ["store"], "required_capabilities": [], "purity_class": "PURE"},
    ),
    (
        ROLLBACK,
        m.RollbackRequest,
        m.RollbackResult,
        {"side_effects": ["store", "target"], "required_capabilities": []},
    ),
    (
        ERROR_EMIT,
        ErrorRecord,
        ErrorRecord,
        {"side_effects": ["store"], "required_capabilities": []},
    ),
)


def _schema_digest(model: type[BaseModel]) -> bytes:
    return h(_shape(model.model_json_schema()))


def _shape(schema: Any) -> Any:
    """A schema without its prose: a reworded docstring is no new contract."""
    if isinstance(schema, list):
        return [_shape(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    prose = ("description", "title")
    # A property may itself be called "title": then its value is a schema, not a text.
    return {k: _shape(v) for k, v in schema.items() if k not in prose or not isinstance(v, str)}


@cache
def registry_bytes() -> bytes:
    """Canonical CBOR of the registry: an array sorted by (operator_id, version)."""
    codes = sorted(ERROR_CODES)
    records = []
    for operator_id, request, response, facts in _OPERATORS:
        request_digest, response_digest = _schema_digest(request), _schema_digest(response)
        records.append(
            {
                "operator_id": operator_id,
                "version": "1",
                "surface": "deploy",
                "request_schema_digest": request_digest,
                "response_schema_digest": response_digest,
                "signature_digest": h([operator_id, request_digest, response_digest]),
                "side_effects": facts["side_effects"],
                "allowed_error_codes": codes,
                "purity_class": facts.get("purity_class", "IO"),
                "required_capabilities": facts["required_capabilities"],
                "idempotent": True,
                "determinism_class": "E0",
            }
        )
    return cbor.encode(sorted(records, key=lambda row: (row["operator_id"], row["version"])))


@cache
def root_hash() -> bytes:
    """``operator_contracts_root_hash`` of this version."""
    return sha256(registry_bytes())


@cache
def accepted_roots() -> frozenset[bytes]:
    """Every root that a certificate may name."""
    return EARLIER_ROOTS | {root_hash()}
