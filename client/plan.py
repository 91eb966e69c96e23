"""What a rollout would do, resolved and said before anything is touched: ``--plan``."""

from typing import TYPE_CHECKING, Any

from client.output import columns
from client.rollouts import Prepared
from lockstep.digest import to_text
from lockstep.plan import EnvironmentPlan

if TYPE_CHECKING:
    from lockstep.profile import EnvironmentSpec

SCHEMA_VERSION = "lockstep.plan.v1"


def plan_document(prepared: Prepared) -> dict[str, Any]:
    """The plan. Reads CURRENT of each environment and nothing else outside this machine.

    Raises:
        UnavailableError: STORE_UNREACHABLE.
    """
    environments = [_environment(prepared, one) for one in prepared.plan]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": prepared.run_id,
        "tenant_id": prepared.context.tenant_id,
        "service": prepared.service,
        "version": prepared.manifest.version,
        "release_hash": to_text(prepared.release_hash),
        "policy_bundle_hash": to_text(prepared.policy.digest()),
        "env_manifest_hash": to_text(prepared.profile.digest()),
        "replay_token": to_text(prepared.replay_token),
        "starter": prepared.starter,
        "gate": prepared.policy.gate.profile,
        "on_failure": prepared.policy.on_failure,
        "on_inconclusive": prepared.policy.on_inconclusive,
        "environments": environments,
        "least_duration_s": sum(one["least_duration_s"] for one in environments),
    }


def _environment(prepared: Prepared, plan: EnvironmentPlan) -> dict[str, Any]:
    spec = prepared.profile.environment(plan.name)
    assert spec is not None  # the plan was resolved from this very profile
    current = prepared.stored.ledger.current(plan.name, prepared.service)
    last_good = current.last_good if current else None
    serving = current.serving if current else None
    look_s = plan.bake_s + plan.settle_s + plan.ingest_delay_s
    return {
        "name": plan.name,
        "production": plan.production,
        "task_queue": plan.task_queue,
        "cohorts": list(plan.cohorts),
        "bake_s": plan.bake_s,
        "settle_s": plan.settle_s,
        "ingest_delay_s": plan.ingest_delay_s,
        "concurrency": plan.concurrency,
        "serving": to_text(serving) if serving else None,
        "rollback_release": to_text(last_good) if last_good else None,
        "targets": _adapters(spec, "targets"),
        "sources": _adapters(spec, "sources"),
        "least_duration_s": look_s * len(plan.cohorts),
    }


def _adapters(spec: "EnvironmentSpec", field: str) -> list[dict[str, Any]]:
    """Each target or source with what it cannot guarantee; opening one contacts nothing.

    Raises:
        DocumentError: DOCUMENT_INVALID; an unknown kind or settings that are not its own.
    """
    from activities.adapters.sources import open_source
    from activities.adapters.targets import open_target

    opened = open_target if field == "targets" else open_source
    return [
        {
            "name": one.name,
            "kind": one.kind,
            "cannot": list(opened(one.kind, one.settings).cannot),
        }
        for one in getattr(spec, field)
    ]


def plan_text(value: dict[str, Any]) -> str:
    """The plan for people."""
    rows = [
        (
            one["name"] + (" (production)" if one["production"] else ""),
            " ".join(str(percent) for percent in one["cohorts"]),
            f"{one['bake_s']} s",
            one["task_queue"],
            (one["rollback_release"] or "none: first release").removeprefix("sha256:")[:19],
            f"{one['least_duration_s']} s",
        )
        for one in value["environments"]
    ]
    head = ("ENVIRONMENT", "COHORTS %", "BAKE", "QUEUE", "GOES BACK TO", "AT LEAST")
    lines = [
        f"{value['service']} {value['version']}  {value['release_hash']}",
        f"run {value['run_id']}, started by {value['starter']}",
        f"gate {value['gate']}, on failure {value['on_failure']}, "
        f"on inconclusive {value['on_inconclusive']}",
        "",
        columns(rows, head),
        "",
        f"at least {value['least_duration_s']} s in all; nothing was touched",
    ]
    limits = {
        f"{field[:-1]} {adapter['kind']}: {said}": None
        for one in value["environments"]
        for field in ("targets", "sources")
        for adapter in one[field]
        for said in adapter["cannot"]
    }
    return "\n".join([*lines, "", "what cannot be promised:", *limits])
