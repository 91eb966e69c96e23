"""``client target status SERVICE``: the facts about traffic, from store and targets alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client.inputs import profile_of, profile_option
from client.output import columns, emit, output_option
from lockstep.errors import Exit, LockstepError

if TYPE_CHECKING:
    from client.context import Stored
    from lockstep.profile import EnvironmentSpec

SCHEMA_VERSION = "lockstep.target-status.v1"


@click.group()
def target() -> None:
    """What targets are asked to do, and do."""


@target.command("status")
@click.argument("service")
@click.option("--env", "environment", help="This environment only.")
@profile_option
@output_option
def status(service: str, environment: str | None, profile_file: Path | None, output: str) -> int:
    """Desired and actual weight, owner, epoch and drift of SERVICE in each environment.

    Needs only store and targets. A target that does not answer is said so, the others are
    shown, and the exit code is 10.
    """
    from client.context import Stored, load
    from client.inputs import environment_of

    context = load()
    profile = profile_of(context, profile_file)
    stored = Stored(context)
    specs = profile.environments
    if environment is not None:
        specs = [environment_of(profile, environment)]
    rows = [facts(stored, spec, service) for spec in specs]
    emit(
        {"schema_version": SCHEMA_VERSION, "service": service, "environments": rows},
        output,
        _table(rows),
    )
    return Exit.UNREACHABLE if any(row["error"] for row in rows) else Exit.DONE


def facts(stored: "Stored", spec: "EnvironmentSpec", service: str) -> dict[str, Any]:
    """One environment: what the store says is meant, and what the target says is so.

    Raises:
        UnavailableError: STORE_UNREACHABLE. A silent target is a fact, not an error.
    """
    from activities.adapters.targets import open_target
    from lockstep.drift import actual_weights, desired_weights, drift_of

    ledger, named = stored.ledger, spec.targets[0]
    lease, _ = ledger.lease(spec.name, service)
    current = ledger.current(spec.name, service)
    record = ledger.target(spec.name, service, named.name)
    desired = desired_weights(record, current)
    row: dict[str, Any] = {
        "environment": spec.name,
        "target": named.name,
        "kind": named.kind,
        "desired": desired,
        "actual": None,
        "drift": None,
        "healthy": None,
        "owner": lease.holder if lease and lease.state != "free" else None,
        "owner_run": record.owner_run if record else None,
        "lease": lease.state if lease else "never taken",
        "epoch": lease.epoch if lease else 0,
        "fence_epoch": None,
        "phase": record.phase if record else None,
        "serving": current.serving if current else None,
        "last_good": current.last_good if current else None,
        "error": None,
    }
    try:
        state = open_target(named.kind, named.settings).state()
    except LockstepError as error:
        return row | {"error": str(error)}
    exposed = [one for one in state.instances if one.weight > 0]
    return row | {
        "actual": actual_weights(state),
        "drift": drift_of(state, desired),
        "healthy": all(one.healthy for one in exposed),
        "fence_epoch": state.fence_epoch,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    head = ("ENVIRONMENT", "DESIRED", "ACTUAL", "OWNER", "EPOCH", "DRIFT")
    return columns(
        [
            (
                row["environment"],
                _weights(row["desired"]),
                _weights(row["actual"]),
                row["owner"] or "–",
                row["epoch"],
                row["error"] or row["drift"] or "none",
            )
            for row in rows
        ],
        head,
    )


def _weights(weights: dict[str, int] | None) -> str:
    if weights is None:
        return "?"
    return ", ".join(f"{name[:12]} {weight} %" for name, weight in weights.items()) or "nothing"
