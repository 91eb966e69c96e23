"""The determinism profile: the rules under which two runs of the same bytes agree.

Its hash is bound by every certificate; a release certified under rules that this worker does not
ship is not promoted. A change of rule is a new profile id, never an edit.
"""

from functools import cache

from lockstep import cbor
from lockstep.digest import sha256

PROFILE_ID = "lockstep.determinism.v1"

PROFILE_RULES: tuple[str, ...] = (
    "cbor: canonical, text keys sorted by encoded form, binary64 only, NaN and infinity refused",
    "digest: SHA-256 of stored bytes",
    "clock: none in decisions; times are recorded inputs",
    "random: none; seed 0",
    "numbers: integers in stated units; binary64, round to nearest even, for ratios",
    "comparison: value <= limit + 1e-10",
    "percentile: nearest rank; the upper bound of its bucket on a histogram",
    "order: sorted, or the order of the decision index t; never a set's",
    "evidence: a verdict reads one frozen snapshot, named by digest, and the policy",
    "replay: the same bytes give the same verdict digests and the same trace",
)

EARLIER_PROFILES: frozenset[bytes] = frozenset()
"""Hashes of earlier profiles under which this version still decides alike."""


@cache
def profile_bytes() -> bytes:
    """Canonical CBOR of [profile_id, profile_rules]: what a release carries as evidence."""
    return cbor.encode([PROFILE_ID, list(PROFILE_RULES)])


@cache
def profile_hash() -> bytes:
    """``determinism_profile_hash`` of this version."""
    return sha256(profile_bytes())


@cache
def accepted_profiles() -> frozenset[bytes]:
    """Every profile hash that a certificate may name."""
    return EARLIER_PROFILES | {profile_hash()}
