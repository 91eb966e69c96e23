"""What a target is meant to carry, what it carries, and the difference in words. Pure.

The target record says what is meant while and after traffic is moved; CURRENT where no record was
written yet (an adoption). Names are the 64 hex digits of release hashes.
"""

from collections.abc import Mapping

from lockstep.ledger import Current, TargetRecord
from lockstep.ports import TargetState

Weights = dict[str, int]


def desired_weights(record: TargetRecord | None, current: Current | None) -> Weights:
    """Release name → percent of traffic that it is meant to carry; empty: none."""
    if record is None:
        serving = current.serving if current else None
        return {serving.hex(): 100} if serving else {}
    weights: Weights = {}
    if record.stable_release is not None:
        weights[record.stable_release.hex()] = 100 - record.desired_weight
    if record.canary_release is not None and record.desired_weight > 0:
        name = record.canary_release.hex()
        weights[name] = weights.get(name, 0) + record.desired_weight
    return {name: weight for name, weight in weights.items() if weight > 0}


def actual_weights(state: TargetState) -> Weights:
    """Release name → percent of traffic as read back; what carries none is left out."""
    return {one.release: one.weight for one in state.instances if one.weight > 0}


def drift_of(state: TargetState, desired: Mapping[str, int]) -> str | None:
    """None where the target carries what it is meant to, else the difference in words."""
    actual = actual_weights(state)
    if not desired and actual:
        return f"{_shown(actual)} serves and was never adopted"
    if actual != dict(desired):
        return f"meant {_shown(desired)}, found {_shown(actual)}"
    sick = [one.release for one in state.instances if one.weight > 0 and not one.healthy]
    if sick:
        return f"{sick[0][:12]} carries traffic and is not healthy"
    return None


def _shown(weights: Mapping[str, int]) -> str:
    parts = [f"{name[:12]} {weight} %" for name, weight in sorted(weights.items())]
    return ", ".join(parts) or "nothing"
