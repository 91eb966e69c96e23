"""The nine equalities of promotion, each recomputed from stored bytes (spec rollout §6).

A comparison between two claims of the same party proves nothing; so one side is always the
certificate's claim and the other what the stored bytes give, what the environment pinned, what
this worker ships, or what the approver signed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.errors import DataError
from lockstep.record import Digest32, Record
from lockstep.release.evidence import RECOMPUTE, ReleaseEvidence
from lockstep.trust.approvals import APPROVED_HASHES, Approval
from lockstep.trust.certificate import NINE


class Equality(Record):
    """One bound hash: what is claimed, what it is, and whether promotion may go on."""

    name: str
    claimed: Digest32 | None = None
    """Absent when the certificate could not be read."""
    recomputed: Digest32 | None = None
    """Absent when the stored bytes do not parse."""
    approved: Digest32 | None = None
    """What the approval record names, where the rule asks for it."""
    equal: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What the certificate's claims are held to beside the stored bytes."""

    policy_bundle_hash: bytes
    """The policy that the environment pinned."""
    profiles: frozenset[bytes]
    """Determinism profiles that this worker ships."""
    operator_roots: frozenset[bytes]
    """Operator registry roots that this worker ships."""


def nine_equalities(
    payload: Mapping[str, Any] | None,
    release: ReleaseEvidence,
    expected: Expected,
    approvals: Sequence[Approval],
) -> list[Equality]:
    """The nine, in the order of the specification; bad evidence makes them unequal, not fatal."""
    return [_judge(name, payload, release, expected, approvals) for name in NINE]


def unequal(equalities: Sequence[Equality]) -> list[str]:
    """Names of those that do not hold, in order."""
    return [row.name for row in equalities if not row.equal]


def _judge(
    name: str,
    payload: Mapping[str, Any] | None,
    release: ReleaseEvidence,
    expected: Expected,
    approvals: Sequence[Approval],
) -> Equality:
    claimed = payload.get(name) if payload is not None else None
    recomputed, problem = _recomputed(name, release)
    approved = _approved(name, recomputed, approvals)
    problem = problem or _why_unequal(name, claimed, recomputed, expected)
    if not problem and name in APPROVED_HASHES and approved != recomputed:
        problem = "no approval record" if approved is None else "the approval names another"
    return Equality(
        name=name,
        claimed=claimed,
        recomputed=recomputed,
        approved=approved,
        equal=not problem,
        problem=problem or None,
    )


def _recomputed(name: str, release: ReleaseEvidence) -> tuple[bytes | None, str]:
    try:
        return RECOMPUTE[name](release), ""
    except DataError as error:
        return None, str(error)


def _approved(name: str, recomputed: bytes | None, approvals: Sequence[Approval]) -> bytes | None:
    """The approvals' word for ``name``: the first that differs, so that one stray name shows."""
    if name not in APPROVED_HASHES:
        return None
    named = [getattr(approval, name) for approval in approvals]
    return next((value for value in named if value != recomputed), named[0] if named else None)


def _why_unequal(
    name: str, claimed: bytes | None, recomputed: bytes | None, expected: Expected
) -> str:
    """Why the claim does not hold; empty when it does. The approval is judged apart."""
    if claimed is None:
        return "the certificate's claim cannot be read"
    if claimed != recomputed:
        return "the stored bytes give another hash"
    if name == "policy_bundle_hash" and claimed != expected.policy_bundle_hash:
        return "the environment pins another policy"
    if name == "determinism_profile_hash" and claimed not in expected.profiles:
        return "this worker ships another determinism profile"
    if name == "operator_contracts_root_hash" and claimed not in expected.operator_roots:
        return "this worker ships other operator contracts"
    return ""
