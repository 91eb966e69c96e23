"""Get a rollout ready: read and check everything locally, name the run, then upload and start.

``prepare`` touches nothing and refuses what would be refused later anyway, with file and field.
The same request gives the same run id, so starting it twice attaches to the first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.context import Stored
from client.inputs import operator_key, policy_of, profile_of
from client.releasing import find_release
from lockstep import hashes
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError, LockstepError
from lockstep.plan import EnvironmentPlan, resolve_plan
from lockstep.policy import Policy
from lockstep.profile import EnvironmentProfile
from lockstep.release.evidence import ReleaseEvidence
from lockstep.release.manifest import Manifest
from lockstep.settings import Context
from lockstep.trust import checks
from lockstep.trust.certificate import read_certificate

if TYPE_CHECKING:
    from temporalio.client import Client

    from activities.adapters.bundle import Bundle

ATTEMPT = 1
TASK_TIMEOUT_S = 5
RETENTION_CLASS = "experimental"


@dataclass(frozen=True)
class Prepared:
    """A rollout that has been checked here and not begun anywhere."""

    context: Context
    stored: Stored
    policy: Policy
    profile: EnvironmentProfile
    plan: list[EnvironmentPlan]
    release: ReleaseEvidence
    manifest: Manifest
    release_hash: bytes
    bundle: "Bundle | None"
    """None: the release lies in the store already."""
    starter: str
    replay_token: bytes
    run_id: str

    @property
    def service(self) -> str:
        return self.policy.service


def prepare(
    context: Context, release: str, policy_file: Path | None, profile_file: Path | None
) -> Prepared:
    """Read and check policy, profile and release; nothing is written.

    Raises:
        DataError: DOCUMENT_INVALID at file and line; RELEASE_INVALID, CERTIFICATE_INVALID,
            EVIDENCE_INVALID or EQUALITY_FAILED at the bundle's file.
        UnavailableError: the store is out of reach.
    """
    policy = policy_of(context, policy_file)
    profile = profile_of(context, profile_file)
    plan = resolve_plan(policy, profile)
    stored = Stored(context)
    evidence, bundle = find_release(stored, release)
    manifest = check_release(evidence, context.tenant_id, policy, place=release)
    name = hashes.release_hash(sha256(evidence.manifest), sha256(evidence.certificate))
    token = hashes.replay_token(policy.digest(), profile.digest())
    return Prepared(
        context=context,
        stored=stored,
        policy=policy,
        profile=profile,
        plan=plan,
        release=evidence,
        manifest=manifest,
        release_hash=name,
        bundle=bundle,
        starter=operator_key(context).key_id,
        replay_token=token,
        run_id=hashes.run_id(context.tenant_id, "rollout", policy.service, name, token, ATTEMPT),
    )


def check_release(
    release: ReleaseEvidence, tenant_id: str, policy: Policy, *, place: str
) -> Manifest:
    """Everything about a release that its own bytes can refute; trust is judged by preflight.

    Raises:
        DataError: the first finding, placed at the bundle's file.
    """

    def at(file: str, check: Any) -> Any:
        try:
            return check()
        except LockstepError as error:
            where = f"{place}/{file}" if file else place
            error.place = f"{where}: {error.place}" if error.place else where
            raise

    # A manifest that breaks its schema is a document somebody wrote, not a stored record.
    _, manifest = at("manifest.cbor", lambda: _manifest(release, policy.service))
    payload, _ = at("certificate.cbor", lambda: read_certificate(release.certificate))
    at("evidence/policy_bundle", lambda: checks.check_policy(release, manifest))
    at("evidence", lambda: checks.check_evidence(release, manifest))
    at("evidence", lambda: checks.check_bound_hashes(release, payload))
    at("lineage.cbor", lambda: checks.check_lineage(release, manifest))
    at("checkpoint.cbor", lambda: checks.check_checkpoint(release, manifest))
    at(
        "trace.cbor",
        lambda: checks.check_qualification(release, manifest, payload, tenant_id),
    )
    at("certificate.cbor", lambda: _same_policy(payload, policy))
    return manifest


def _manifest(release: ReleaseEvidence, service: str) -> tuple[str, Manifest]:
    try:
        return checks.check_manifest(release, service)
    except DataError as error:
        if error.code in ("RECORD_INVALID", "CBOR_INVALID"):
            raise DataError("RELEASE_INVALID", error.cause, hint="pack the release again") from None
        raise


def _same_policy(payload: dict[str, Any], policy: Policy) -> None:
    if payload["policy_bundle_hash"] != policy.digest():
        raise DataError(
            "EQUALITY_FAILED",
            f"policy_bundle_hash: certified for {to_text(payload['policy_bundle_hash'])}, "
            f"the pinned policy is {to_text(policy.digest())}",
            hint="certify the release for this policy, or pass the one it was certified for",
        )


def upload(prepared: Prepared) -> None:
    """Put the bundle, the resolved policy and the resolved profile into the store; repeatable."""
    from activities.adapters.releases import upload_release

    stored, bundle = prepared.stored, prepared.bundle
    now_us = int(stored.store.now().timestamp() * 1_000_000)
    if bundle is not None:
        upload_release(stored.cas, stored.ledger, bundle, now_us=now_us)
    documents = [prepared.policy.to_bytes(), prepared.profile.to_bytes()]
    stored.cas.put_all(
        documents, prepared.run_id, 0, now_us=now_us, retention_class=RETENTION_CLASS
    )


async def start(client: "Client", prepared: Prepared, *, dry_run: bool) -> str:
    """Start the workflow, or attach to the one under way; returns its id.

    Raises:
        UnavailableError: TEMPORAL_UNREACHABLE.
    """
    from datetime import timedelta

    from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
    from temporalio.service import RPCError

    from lockstep.messages import EnvironmentQueue, RolloutRequest
    from workflows import client_api as api
    from workflows.connection import RPC_TIMEOUT, unreachable

    context, run_id = prepared.context, prepared.run_id
    workflow_id = workflow_id_of(prepared, dry_run=dry_run)
    request = RolloutRequest(
        tenant_id=context.tenant_id,
        service=prepared.service,
        release_hash=to_text(prepared.release_hash),
        policy_bundle_hash=to_text(prepared.policy.digest()),
        env_manifest_hash=to_text(prepared.profile.digest()),
        attempt=ATTEMPT,
        run_id=run_id,
        starter=prepared.starter,
        replay_token=to_text(prepared.replay_token),
        environments=tuple(
            EnvironmentQueue(name=one.name, task_queue=one.task_queue) for one in prepared.plan
        ),
        dry_run=dry_run,
    )
    what = "dry run of" if dry_run else "rollout of"
    version = prepared.manifest.version
    try:
        await client.start_workflow(
            api.ROLLOUT,
            request,
            id=workflow_id,
            task_queue=api.CONTROL_QUEUE,
            # The same request is the same run: a second start attaches to the first.
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # A failed preflight may be run again; a run that ended was found in the store.
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            task_timeout=timedelta(seconds=TASK_TIMEOUT_S),
            search_attributes=_attributes(prepared),
            memo=memo_of(prepared, "dry-run" if dry_run else "rollout"),
            static_summary=f"{what} {prepared.service} {version}",
            static_details=details_of(prepared),
            rpc_timeout=RPC_TIMEOUT,
        )
    except RPCError as error:
        raise unreachable(context.temporal_address, error) from None
    return workflow_id


def workflow_id_of(prepared: Prepared, *, dry_run: bool) -> str:
    """A dry run has a workflow of its own, so that no real start ever attaches to it."""
    from workflows.client_api import rollout_id

    workflow_id = rollout_id(prepared.context.tenant_id, prepared.run_id)
    return f"{workflow_id}/dry-run" if dry_run else workflow_id


def memo_of(prepared: Prepared, operation: str) -> dict[str, str]:
    """What ``client list`` shows without asking any worker."""
    return {
        "run_id": prepared.run_id,
        "operation": operation,
        "service": prepared.service,
        "release_hash": to_text(prepared.release_hash),
    }


def _attributes(prepared: Prepared) -> Any:
    from temporalio.common import SearchAttributePair, TypedSearchAttributes

    from workflows import client_api as api

    pairs = (
        (api.SERVICE, prepared.service),
        (api.STATUS, "running"),
        (api.RELEASE, prepared.release_hash.hex()[:12]),
        (api.OWNER, prepared.starter),
        (api.STAGE, "preflight"),
    )
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in pairs])


def details_of(prepared: Prepared) -> str:
    """The plan in markdown, for the page of the Temporal UI."""
    rows = [
        f"| {one.name} | {', '.join(str(percent) for percent in one.cohorts)} | {one.bake_s} s |"
        for one in prepared.plan
    ]
    return "\n".join(
        [
            f"## {prepared.service} {prepared.manifest.version}",
            "",
            f"- release `{to_text(prepared.release_hash)}`",
            f"- policy `{to_text(prepared.policy.digest())}`",
            f"- profile `{to_text(prepared.profile.digest())}`",
            f"- started by `{prepared.starter}`, run `{prepared.run_id}`",
            "",
            "| environment | cohorts | bake |",
            "|---|---|---|",
            *rows,
        ]
    )
