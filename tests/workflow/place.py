"""A bench over a real file store with a resolved policy and profile, for activities' own tests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.adapters.store import open_store
from activities.bench import MICROS, Bench
from lockstep import hashes
from lockstep.digest import to_text
from lockstep.messages import RunContext
from lockstep.policy import resolve_policy
from lockstep.profile import resolve_profile

TENANT, SERVICE = "demo", "checkout"
CANARY, STABLE, OTHER = "c" * 64, "a" * 64, "b" * 64
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there
GOOD = {"requests": 1000, "errors": 0, "latency": {"kind": "p95", "p95_us": 80_000}}


@dataclass(frozen=True)
class Place:
    bench: Bench
    run: RunContext
    metrics: Path
    """What the ``file`` source reads; written good at first."""

    def other_run(self, run_id: str) -> RunContext:
        return self.run.model_copy(update={"run_id": run_id})


def make_place(
    folder: Path,
    *,
    admin_url: str = NOBODY,
    skew_s: float = 0.0,
    policy: Mapping[str, Any] | None = None,
    environments: tuple[str, ...] = ("dev", "prod"),
) -> Place:
    """Store, documents and a run; the worker's clock is ``skew_s`` ahead of the store's."""
    root = folder / "store"
    root.mkdir()
    metrics = folder / "metrics.json"
    metrics.write_text(json.dumps({"canary": GOOD, "baseline": GOOD}))
    store = open_store(root.as_uri())
    bench = Bench(
        store=store,
        tenant=TENANT,
        now_us=lambda: round((store.now().timestamp() + skew_s) * MICROS),
        environments=frozenset(environments[:1]),
    )
    rules = resolve_policy(
        {"schema_version": "lockstep.policy.v1", "service": SERVICE, **(policy or {})}
    )
    profile = resolve_profile(
        {
            "schema_version": "lockstep.environment-profile.v1",
            "environments": [_environment(name, admin_url, metrics) for name in environments],
        }
    )
    policy_hash = bench.cas.put(rules.to_bytes())
    profile_hash = bench.cas.put(profile.to_bytes())
    run = RunContext(
        tenant_id=TENANT,
        run_id="0123456789abcdef",
        service=SERVICE,
        release_hash=f"sha256:{CANARY}",
        policy_bundle_hash=to_text(policy_hash),
        env_manifest_hash=to_text(profile_hash),
        replay_token=to_text(hashes.replay_token(policy_hash, profile_hash)),
        attempt=1,
        starter="starter",
    )
    return Place(bench, run, metrics)


def _environment(name: str, admin_url: str, metrics: Path) -> dict[str, Any]:
    return {
        "name": name,
        "bake_s": 600,
        "lease_s": 20,
        "max_skew_s": 5,
        "targets": [{"name": "main", "kind": "demo", "settings": {"admin_url": admin_url}}],
        "sources": [{"name": "main", "kind": "file", "settings": {"path": str(metrics)}}],
    }


def performed(activity: Any, request: Any) -> Any:
    """The answer of an activity, called as a worker calls it."""
    return ActivityEnvironment().run(activity, request)


def refused(activity: Any, request: Any) -> ApplicationError:
    """The failure of an activity, as the workflow sees it."""
    with pytest.raises(ApplicationError) as caught:
        performed(activity, request)
    return caught.value
