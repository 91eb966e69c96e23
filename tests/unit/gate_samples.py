"""Snapshots and policies that the gate tests start from, with fixed names and times."""

from typing import Any

from lockstep.policy import Policy, resolve_policy

RELEASE, BASELINE, EARLIER = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


def p95(us: int) -> dict[str, Any]:
    return {"kind": "p95", "p95_us": us}


def side(requests: int = 1000, errors: int = 5, latency: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "requests": requests,
        "errors": errors,
        "latency": p95(100_000) if latency is None else latency,
        **more,
    }


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in names}


def snapshot_map(**changed: Any) -> dict[str, Any]:
    """A good look at 25 % of prod, as decoded from CBOR; a field changed to None is left out."""
    value = {
        "schema_version": "lockstep.metrics-snapshot.v1",
        "tenant_id": "demo",
        "run_id": "0123456789abcdef",
        "environment": "prod",
        "cohort_percent": 25,
        "release_hash": RELEASE,
        "baseline_release_hash": BASELINE,
        "window": {"start_us": 1_700_000_000_000_000, "end_us": 1_700_000_600_000_000},
        "source": {"kind": "file", "parser_version": "v1", "queries": ["q"]},
        "raw": [b"\x04" * 32],
        "canary": side(),
        "baseline": side(3000, 0),
        "replay": {"checked": 3, "failures": 0},
        **changed,
    }
    return {key: item for key, item in value.items() if item is not None}


def policy(**gate: Any) -> Policy:
    return resolve_policy({"schema_version": "lockstep.policy.v1", "service": "web", "gate": gate})
