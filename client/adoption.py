"""Adopt what runs: record it, sign the record, and let it count as committed (spec rollout §2).

Store and target alone, no server. Every step finds what an earlier attempt left, so that a
command that was killed anywhere is finished by running it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep import cbor, hashes, ledger, utc
from lockstep.digest import from_text, sha256
from lockstep.errors import FencedError, RefusedError
from lockstep.ledger import Busy, Lease, SafeState, TargetRecord
from lockstep.ports import Instance, Target
from lockstep.profile import EnvironmentSpec

if TYPE_CHECKING:
    from activities.adapters.secrets import SigningKey
    from client.context import Stored

LEASE_TRIES = 8
"""Each lost try means that another owner came and went between reading and taking the lease."""

RETENTION_CLASS = "certified_release"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is adopted, where, and by whom."""

    service: str
    spec: EnvironmentSpec
    key: "SigningKey"
    replay_token: bytes


@dataclass(frozen=True, slots=True)
class Adopted:
    release_hash: bytes
    record_digest: bytes | None
    instance: Instance
    epoch: int
    run_id: str
    changed: bool
    """False: it was known as this release already, and nothing was written."""


def adopt(stored: "Stored", target: Target, subject: Subject) -> Adopted:
    """Adopt the one healthy version that carries all traffic.

    Raises:
        RefusedError: NOT_DEPLOYED, TARGET_DRIFT, LEASE_BUSY, or FENCED.
        UnavailableError: store or target out of reach.
    """
    instance = serving_instance(target)
    spec, service = subject.spec, subject.service
    current = stored.ledger.current(spec.name, service)
    if current and current.serving and current.serving.hex() == instance.release:
        epoch = _finish_earlier(stored, subject, current.serving) or current.epoch
        return Adopted(current.serving, None, instance, epoch, "", changed=False)
    record, is_new = _record(stored, subject, instance)
    release = hashes.adoption_release_hash(sha256(record))
    lease = _take_lease(stored, subject, release)
    try:
        # Who is fenced off learns it here, before a record of his enters the history.
        target.fence(lease.epoch)
        if is_new:
            _store_record(stored, subject, lease.holder, record)
        _tell_target(stored, target, subject, instance, release, lease)
        stored.ledger.set_current(
            spec.name, service, lease.epoch, lambda known: ledger.adopted(known, release)
        )
    finally:
        # Nothing is exposed by an adoption, so the lease is given back whatever happened.
        stored.ledger.free(spec.name, service, lease.holder, lease.epoch)
    return Adopted(release, sha256(record), instance, lease.epoch, lease.holder, changed=True)


def _run_id(stored: "Stored", subject: Subject, release: bytes, epoch: int) -> str:
    token = subject.replay_token
    return hashes.run_id(stored.tenant, "adopt", subject.service, release, token, epoch)


def _finish_earlier(stored: "Stored", subject: Subject, release: bytes) -> int:
    """The lease's epoch (0: never taken); one that a killed adoption still holds is given back."""
    spec, service = subject.spec, subject.service
    lease, _ = stored.ledger.lease(spec.name, service)
    if lease is None:
        return 0
    if lease.state != "free" and lease.holder == _run_id(stored, subject, release, lease.epoch):
        stored.ledger.free(spec.name, service, lease.holder, lease.epoch)
    return lease.epoch


def serving_instance(target: Target) -> Instance:
    """The version that carries all traffic.

    Raises:
        RefusedError: NOT_DEPLOYED when nothing does or it is unhealthy; TARGET_DRIFT when
            several share it, since nobody said which of them is good.
    """
    exposed = [one for one in target.state().instances if one.weight > 0]
    if not exposed:
        raise RefusedError(
            "NOT_DEPLOYED",
            "nothing serves here, so there is nothing to adopt",
            hint="a service that serves nobody is rolled out with first_release: allow",
        )
    if len(exposed) > 1:
        shares = ", ".join(f"{one.release[:12]} {one.weight} %" for one in exposed)
        raise RefusedError(
            "TARGET_DRIFT", f"several versions share the traffic: {shares}", hint="let one serve"
        )
    if not exposed[0].healthy:
        raise RefusedError(
            "NOT_DEPLOYED", f"{exposed[0].release[:12]} serves and is not healthy", hint="mend it"
        )
    return exposed[0]


def _record(stored: "Stored", subject: Subject, instance: Instance) -> tuple[bytes, bool]:
    """The signed record, and whether it is new: one left by a killed attempt is used again."""
    from lockstep.trust.signed import read_signed, sign

    payload: dict[str, Any] = {
        "type": "adoption",
        "tenant_id": stored.tenant,
        "environment": subject.spec.name,
        "service": subject.service,
        "target": subject.spec.targets[0].name,
        "instance": instance.release,
        "artifacts": _digests(instance.artifacts),
        "configs": _digests(instance.configs),
        "weights": {instance.release: instance.weight},
        "unproven": True,
        "operator": subject.key.key_id,
    }
    for known in stored.ledger.adoptions(subject.spec.name, subject.service):
        said = dict(read_signed(known).signed_payload)
        said.pop("time", None)
        renamed = hashes.adoption_release_hash(sha256(known)).hex() == instance.release
        if said == payload or renamed:
            return known, False
    payload["time"] = utc.from_seconds(int(stored.store.now().timestamp()))
    return sign(payload, subject.key.descriptor, subject.key.private_key), True


def _digests(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: from_text(text) for name, text in sorted(texts.items())}


def _take_lease(stored: "Stored", subject: Subject, release: bytes) -> Lease:
    """The lease under a run id that names the very epoch it is held under.

    A lease that a killed attempt at this very adoption still holds is taken over as it is.
    """
    spec, service, books = subject.spec, subject.service, stored.ledger

    for _ in range(LEASE_TRIES):
        known, _version = books.lease(spec.name, service)
        epoch = known.epoch + 1 if known else 1
        if (
            known
            and known.state != "free"
            and known.holder == _run_id(stored, subject, release, known.epoch)
        ):
            epoch = known.epoch
        run_id = _run_id(stored, subject, release, epoch)
        taken = books.take(spec.name, service, run_id, spec.lease_s, f"adopt-{run_id}")
        if isinstance(taken, Busy):
            raise RefusedError(
                "LEASE_BUSY", f"run {taken.holder} holds {spec.name} until {taken.deadline}"
            )
        if taken.epoch == epoch:
            return taken
        books.free(spec.name, service, run_id, taken.epoch)
    raise FencedError(f"{spec.name} changed hands {LEASE_TRIES} times")


def _store_record(stored: "Stored", subject: Subject, run_id: str, record: bytes) -> None:
    now_us = int(stored.store.now().timestamp() * 1_000_000)
    stored.cas.put_all([record], run_id, 0, now_us=now_us, retention_class=RETENTION_CLASS)
    stored.ledger.append_adoption(subject.spec.name, subject.service, record)


def _tell_target(
    stored: "Stored",
    target: Target,
    subject: Subject,
    instance: Instance,
    release: bytes,
    lease: Lease,
) -> None:
    """The target's own name for what runs becomes the release's, under the epoch's fence."""
    spec = subject.spec

    def change(_: TargetRecord | None) -> TargetRecord:
        return TargetRecord(
            desired_weight=0,
            owner_run=lease.holder,
            epoch=lease.epoch,
            stable_release=release,
            safe_state=SafeState(release=release, weight=100),
            phase="done",
            write_id="-",
        )

    if instance.release != release.hex():
        target.adopt(instance.release, release.hex(), lease.epoch)
    seen = target.state().of(release.hex())
    if seen is None or seen.weight != 100:
        raise RefusedError(
            "TARGET_DRIFT", f"{release.hex()[:12]} does not carry the traffic after the adoption"
        )
    stored.ledger.set_target(spec.name, subject.service, spec.targets[0].name, lease.epoch, change)


def payload_of(record: bytes) -> dict[str, Any]:
    """What a signed adoption says, for printing."""
    payload: dict[str, Any] = cbor.decode(record)["signed_payload"]
    return payload
