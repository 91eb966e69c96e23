"""The built-in replay check: judge every earlier snapshot of the run again, from stored bytes.

Each verdict that does not come out the same, and each that cannot be read, is one replay failure;
strict-v1 allows none (spec rollout §4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.digest import sha256
from lockstep.errors import DataError
from lockstep.gates.evaluate import evaluate_bytes
from lockstep.policy import Policy


@dataclass(frozen=True, slots=True)
class Recheck:
    checked: int
    failures: int


def recheck(
    looks: Sequence[dict[str, Any]],
    load: Callable[[bytes], bytes],
    policy: Policy,
    policy_bundle_hash: bytes,
) -> Recheck:
    """Recompute the verdict of each evaluate record in ``looks``.

    ``load`` gives an object's verified bytes by digest; DataError when they are lost or altered.
    """
    failures = 0
    for look in looks:
        evidence = look["evidence"]
        try:
            report = evaluate_bytes(load(evidence["snapshot"]), policy, policy_bundle_hash)
            same = sha256(report.to_bytes()) == evidence["gate_report"]
        except DataError:  # a store out of reach is no finding: that error goes on
            same = False
        failures += not same
    return Recheck(checked=len(looks), failures=failures)
