"""Who may act where, and what is in force: leases, CURRENT, target and retention records.

Pure: the record classes and their transitions (docs/spec/bytes.md §3, docs/spec/rollout.md §7).
``now`` is always the store's time, handed in; reading, writing and retrying are left to
``activities.adapters.store.ledger``. Expected answers such as Busy are values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from lockstep import utc
from lockstep.errors import DataError, FencedError, RefusedError
from lockstep.record import Digest32, Name, Record, Utc

WAITERS_MAX = 1_000

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_S_IN_US = 1_000_000

WriteId = Annotated[str, Field(min_length=1, max_length=200)]
"""Differs for each logical write, so that a pointer never has the same bytes twice."""

Epoch = Annotated[int, Field(ge=1, lt=2**63)]

UNWRITTEN = "unwritten"
"""The write id of a record that has not been through the ledger yet; never stored."""


class Lease(Record):
    """Who may change an environment of a service, since which epoch and until when."""

    holder: Name
    """A run id. While ``state`` is free: the last holder."""
    epoch: Epoch
    deadline: Utc
    """Half-open: at this very second the lease has lapsed."""
    state: Literal["active", "waiting", "free"]
    """``waiting``: for a person, at a confirmed weight; never taken for stuck."""
    waiters: list[Name]
    """Run ids in the order in which they came."""
    write_id: WriteId


@dataclass(frozen=True, slots=True)
class Busy:
    """Another run holds the lease; nothing was changed."""

    holder: str
    deadline: str
    epoch: int
    state: str


class Current(Record):
    """What an environment of a service runs, what it may go back to and what it may not."""

    serving: Digest32 | None = None
    last_good: Digest32 | None = None
    withdrawn: list[Digest32]
    epoch: Annotated[int, Field(ge=0, lt=2**63)]
    write_id: WriteId


class SafeState(Record):
    """Where a target goes when nobody answers: the release, absent for weight 0, and its weight."""

    release: Digest32 | None = None
    weight: Annotated[int, Field(ge=0, le=100)]


class TargetRecord(Record):
    """What a target is asked to do (``intent``), then what it was seen to do (``done``)."""

    desired_weight: Annotated[int, Field(ge=0, le=100)]
    """Percent of traffic for the canary release."""
    owner_run: Name
    epoch: Epoch
    stable_release: Digest32 | None = None
    canary_release: Digest32 | None = None
    safe_state: SafeState
    phase: Literal["intent", "done"]
    write_id: WriteId


class ReleaseIndex(Record):
    """From a release hash to the two objects that it names."""

    manifest_hash: Digest32
    certificate_hash: Digest32


RetentionClass = Literal["golden", "certified_release", "experimental", "ephemeral"]


class RetentionBatch(Record):
    """The writer's intent: which objects it is about to store, and how long they are kept."""

    retention_class: RetentionClass
    gc_eligible_after_utc: Utc
    pin_root_refs: list[str]
    digests: list[Digest32]
    """Sorted, each once."""


RETENTION_DAYS: Mapping[str, int] = {
    "golden": 3650,
    "certified_release": 400,
    "experimental": 90,
    "ephemeral": 7,
}
"""Least windows where the policy names none (docs/spec/bytes.md §3)."""


# ---- times ---------------------------------------------------------------------------------


def deadline_after(now: datetime, seconds: int) -> str:
    """``now`` + ``seconds`` as Utc text, rounded up to the next whole second."""
    exact_us = (now - _EPOCH_START) // _US + seconds * _S_IN_US
    return utc.from_seconds(-(-exact_us // _S_IN_US))


def lapsed(lease: Lease, now: datetime) -> bool:
    """Whether the deadline has been reached; it is the first moment outside the lease."""
    return (now - _EPOCH_START) // _US >= utc.to_seconds(lease.deadline) * _S_IN_US


def eligible_after(retention_class: str, now_us: int, keep_days: int | None = None) -> str:
    """The first midnight UTC after the whole window has passed.

    Whole days make a repeat of the same batch on the same day byte-equal, so that a retried
    activity finds its earlier batch instead of writing another.

    Raises:
        DataError: RECORD_INVALID; an unknown class or a negative window.
    """
    days = RETENTION_DAYS.get(retention_class, -1) if keep_days is None else keep_days
    if days < 0:
        raise DataError("RECORD_INVALID", f"no window of {retention_class[:40]!r}: {days} days")
    day_us = utc.DAY_S * _S_IN_US
    return utc.from_seconds(-(-(now_us + days * day_us) // day_us) * utc.DAY_S)


# ---- leases --------------------------------------------------------------------------------


def take_lease(
    lease: Lease | None, run_id: str, now: datetime, deadline: str, write_id: str
) -> Lease | Busy:
    """Give the lease to ``run_id``, or say who has it.

    Each take raises the epoch by one, except that a run which never gave its lease back keeps the
    epoch: taking is then the retry of a take whose answer was lost. Taking leaves the queue.
    """
    if lease and lease.holder != run_id and lease.state != "free" and not lapsed(lease, now):
        return Busy(lease.holder, lease.deadline, lease.epoch, lease.state)
    return seize_lease(lease, run_id, deadline, write_id)


def seize_lease(lease: Lease | None, run_id: str, deadline: str, write_id: str) -> Lease:
    """Take the lease whoever has it: lowering exposure waits for nobody (spec rollout, first law).

    The holder is fenced by the higher epoch. A run that seized already and still holds keeps its.
    """
    if lease is None:
        return _lease(run_id, 1, deadline, [], write_id)
    own = lease.holder == run_id and lease.state != "free"
    others = [waiter for waiter in lease.waiters if waiter != run_id]
    return _lease(run_id, lease.epoch + (not own), deadline, others, write_id)


def given_back(lease: Lease | None, run_id: str, epoch: int) -> bool:
    """Whether ``run_id`` gave back exactly this epoch: its step is a retry of one that ended."""
    return lease is not None and (lease.holder, lease.epoch, lease.state) == (run_id, epoch, "free")


def _lease(run_id: str, epoch: int, deadline: str, waiters: list[str], write_id: str) -> Lease:
    return Lease.from_map(
        {
            "holder": run_id,
            "epoch": epoch,
            "deadline": deadline,
            "state": "active",
            "waiters": waiters,
            "write_id": write_id,
        }
    )


def check_held(lease: Lease | None, run_id: str, epoch: int) -> Lease:
    """Return the lease if ``run_id`` holds it under exactly ``epoch``.

    Raises:
        FencedError: it was never taken, was given back, or belongs to another run or epoch.
    """
    if lease is None:
        raise FencedError(f"epoch {epoch}: the lease was never taken")
    if lease.epoch != epoch or lease.holder != run_id:
        raise FencedError(
            f"run {run_id} presents epoch {epoch}; run {lease.holder} has epoch {lease.epoch}"
        )
    if lease.state == "free":
        raise FencedError(f"run {run_id} has given epoch {epoch} back")
    return lease


def renew(
    lease: Lease | None,
    run_id: str,
    epoch: int,
    deadline: str | None,
    write_id: str,
    state: Literal["active", "waiting"] = "active",
) -> Lease:
    """Set deadline and state; ``deadline`` None leaves it. A lapsed lease nobody took is renewed.

    Raises:
        FencedError: see ``check_held``.
    """
    held = check_held(lease, run_id, epoch)
    if state == held.state and deadline in (None, held.deadline):
        return held
    new = {"state": state, "deadline": deadline or held.deadline, "write_id": write_id}
    return held.model_copy(update=new)


def release(lease: Lease | None, run_id: str, epoch: int, write_id: str) -> Lease:
    """Give the lease back; a repeat is harmless. The epoch stays, so that it never recurs.

    Raises:
        FencedError: another run or epoch has it.
    """
    if lease is not None and given_back(lease, run_id, epoch):
        return lease
    held = check_held(lease, run_id, epoch)
    return held.model_copy(update={"state": "free", "write_id": write_id})


def enqueue(lease: Lease, run_id: str, write_id: str) -> Lease:
    """Stand at the end of the queue, once.

    Raises:
        RefusedError: LEASE_BUSY; the queue is full.
    """
    if run_id in lease.waiters:
        return lease
    if len(lease.waiters) >= WAITERS_MAX:
        raise RefusedError("LEASE_BUSY", f"{WAITERS_MAX} runs wait already")
    return lease.model_copy(update={"waiters": [*lease.waiters, run_id], "write_id": write_id})


def dequeue(lease: Lease, run_id: str, write_id: str) -> Lease:
    """Leave the queue; a run that does not stand in it changes nothing."""
    if run_id not in lease.waiters:
        return lease
    others = [waiter for waiter in lease.waiters if waiter != run_id]
    return lease.model_copy(update={"waiters": others, "write_id": write_id})


# ---- fencing of pointers -------------------------------------------------------------------


def check_current_epoch(current: Current | None, lease: Lease | None, epoch: int) -> None:
    """Refuse an epoch older than the pointer's, and one that nobody was ever given.

    Between the two an epoch that is no longer the lease's passes: recovery publishes the outcome
    of a run that has given its lease back.

    Raises:
        FencedError: see above.
    """
    known = lease.epoch if lease else 0
    if epoch > known or epoch < 1:
        raise FencedError(f"epoch {epoch} was never given out; the lease is at {known}")
    if current is not None and epoch < current.epoch:
        raise FencedError(f"epoch {epoch} is older than CURRENT's {current.epoch}")


def check_target_epoch(record: TargetRecord | None, lease: Lease | None, epoch: int) -> None:
    """Refuse every epoch but the lease's: a target record announces a side effect.

    Raises:
        FencedError: the epoch is older, or newer than any known.
    """
    known = lease.epoch if lease else 0
    if epoch != known:
        raise FencedError(f"epoch {epoch} is not the one in force, {known}")
    if record is not None and epoch < record.epoch:
        raise FencedError(f"epoch {epoch} is older than the target's {record.epoch}")


# ---- CURRENT -------------------------------------------------------------------------------


def _next(current: Current | None, **changes: object) -> Current:
    base = current or Current(withdrawn=[], epoch=0, write_id=UNWRITTEN)
    return base.model_copy(update=changes)


def served(current: Current | None, release_hash: bytes) -> Current:
    """The environment passed: ``release_hash`` serves. What it may go back to stays."""
    return _next(current, serving=release_hash)


def made_good(current: Current | None, release_hash: bytes) -> Current | None:
    """COMMITTED was published: where ``release_hash`` still serves, one may go back to it.

    Elsewhere another release has come by now, and None says that nothing changes.
    """
    if current is None or current.serving != release_hash:
        return None
    return _next(current, last_good=release_hash, withdrawn=_without(current, release_hash))


def adopted(current: Current | None, release_hash: bytes) -> Current:
    """What runs was recorded as ``release_hash``; it counts as committed."""
    return _next(
        current,
        serving=release_hash,
        last_good=release_hash,
        withdrawn=_without(current, release_hash),
    )


def rolled_back(current: Current | None, to: bytes | None, gone: bytes) -> Current:
    """A rollback was verified: ``to`` serves (None: nothing does), ``gone`` is withdrawn."""
    withdrawn = _without(current, gone)
    return _next(current, serving=to, last_good=to, withdrawn=[*withdrawn, gone])


def _without(current: Current | None, release_hash: bytes) -> list[bytes]:
    listed = current.withdrawn if current else []
    return [digest for digest in listed if digest != release_hash]
