"""What a demo agent remembers, and every legal change of it. Pure; ``journal`` keeps it on disk.

A change carries the epoch of its owner. Only the epoch of the fence may change anything, the fence
only rises, and a change that changes nothing returns the very same state: it is no effect and is
not counted as one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SCHEMA_VERSION = "lockstep.demo-agent.v1"
INSTANCES_MAX = 16
EPOCH_MAX = 2**53
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Refusal(Exception):
    """The change is not made: HTTP status, registered error code, one sentence."""

    def __init__(self, status: int, code: str, cause: str, **facts: Any) -> None:
        super().__init__(cause)
        self.status = status
        self.document = {"code": code, "cause": cause, **facts}


@dataclass(frozen=True, slots=True)
class Placed:
    """One instance: the name it answers to, the folder of its files, its share in percent."""

    release: str
    folder: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class AgentState:
    fence: int = 0
    instances: tuple[Placed, ...] = ()  # sorted by release
    effects: int = 0
    """How many changes were ever made; the number of ``last_effect``."""
    last_effect: Mapping[str, Any] | None = field(default=None)

    def of(self, release: str) -> Placed | None:
        return next((one for one in self.instances if one.release == release), None)


def checked_name(text: Any) -> str:
    """``text`` if it may name a release or a file."""
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise Refusal(400, "NAME_INVALID", f"{str(text)[:60]!r} is no name")
    return text


def _changed(state: AgentState, epoch: int, change: str, **facts: Any) -> AgentState:
    number = state.effects + 1
    effect = {"number": number, "epoch": epoch, "change": change, **facts}
    return replace(state, effects=number, last_effect=effect)


def _require_epoch(state: AgentState, epoch: Any) -> int:
    """Missing, older and newer than the fence are all refused (docs/spec/rollout.md §7)."""
    if type(epoch) is not int or epoch < 1 or epoch != state.fence:
        raise Refusal(
            409, "FENCED", f"epoch {epoch!r} is not {state.fence}, the fence's", known=state.fence
        )
    return epoch


def seeded(state: AgentState, release: str, folder: str) -> AgentState:
    """A service that ran before Lockstep came: it has all the traffic and no owner."""
    everything = (Placed(release, folder, 100),)
    return _changed(replace(state, instances=everything), 0, "seed", release=release)


def fence_raised(state: AgentState, epoch: Any) -> AgentState:
    """Only ``epoch`` may change anything from now on; the same epoch again changes nothing."""
    if type(epoch) is not int or not 1 <= epoch <= EPOCH_MAX:
        raise Refusal(400, "DOCUMENT_INVALID", f"epoch {epoch!r} is no epoch")
    if epoch < state.fence:
        raise Refusal(
            409, "FENCED", f"epoch {epoch} is under {state.fence}, the fence's", known=state.fence
        )
    if epoch == state.fence:
        return state
    return _changed(replace(state, fence=epoch), epoch, "fence")


def started(state: AgentState, epoch: Any, release: str, folder: str) -> AgentState:
    """A new instance at weight 0; one that is there already stays as it is."""
    _require_epoch(state, epoch)
    if state.of(release) is not None:
        return state
    if len(state.instances) >= INSTANCES_MAX:
        raise Refusal(409, "CAPACITY", f"{INSTANCES_MAX} releases run here already; retire one")
    placed = sorted((*state.instances, Placed(release, folder)), key=lambda one: one.release)
    return _changed(replace(state, instances=tuple(placed)), epoch, "start", release=release)


def weighted(state: AgentState, epoch: Any, weights: Any) -> AgentState:
    """Set the shares; releases that are not named get none.

    The shares add up to 100, or all are 0: the way back of a first release serves nobody.
    """
    epoch = _require_epoch(state, epoch)
    if not isinstance(weights, dict) or not weights:
        raise Refusal(400, "DOCUMENT_INVALID", "weights: a map of release to percent is needed")
    for release, weight in weights.items():
        if state.of(release) is None:
            raise Refusal(404, "NOT_DEPLOYED", f"no release {str(release)[:80]!r} runs here")
        if type(weight) is not int or not 0 <= weight <= 100:
            raise Refusal(400, "DOCUMENT_INVALID", f"weight {weight!r} is no percentage")
    if sum(weights.values()) not in (0, 100):
        raise Refusal(
            400, "DOCUMENT_INVALID", f"the weights add up to {sum(weights.values())}, not 100"
        )
    now = tuple(replace(one, weight=weights.get(one.release, 0)) for one in state.instances)
    if now == state.instances:
        return state
    shown = {one.release: one.weight for one in now}
    return _changed(replace(state, instances=now), epoch, "weights", weights=shown)


def retired(state: AgentState, epoch: Any, release: str) -> AgentState:
    """Without ``release``; absent is no change."""
    epoch = _require_epoch(state, epoch)
    placed = state.of(release)
    if placed is None:
        return state
    if placed.weight:
        raise Refusal(
            409, "TARGET_DRIFT", f"{release} has {placed.weight} % of the traffic; move it first"
        )
    rest = tuple(one for one in state.instances if one is not placed)
    return _changed(replace(state, instances=rest), epoch, "retire", release=release)


def adopted(state: AgentState, epoch: Any, name: str, release: str) -> AgentState:
    """The instance ``name`` is known as ``release`` from now on; repeated it is no change."""
    epoch = _require_epoch(state, epoch)
    placed = state.of(name)
    if placed is None and state.of(release) is not None:
        return state
    if placed is None:
        raise Refusal(404, "NOT_DEPLOYED", f"no instance {name!r} runs here")
    if name == release:
        return state
    if state.of(release) is not None:
        raise Refusal(409, "TARGET_DRIFT", f"{release} runs here already, beside {name!r}")
    renamed = [replace(one, release=release) if one is placed else one for one in state.instances]
    now = tuple(sorted(renamed, key=lambda one: one.release))
    return _changed(replace(state, instances=now), epoch, "adopt", release=release, instance=name)


def to_document(state: AgentState) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "fence": state.fence,
        "instances": [
            {"release": one.release, "folder": one.folder, "weight": one.weight}
            for one in state.instances
        ],
        "effects": state.effects,
        "last_effect": state.last_effect,
    }


def from_document(document: Any) -> AgentState:
    """Raises ValueError: not what ``to_document`` writes."""
    try:
        if document["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"agent state: schema_version {document['schema_version']!r}")
        instances = tuple(
            Placed(one["release"], one["folder"], one["weight"]) for one in document["instances"]
        )
        state = AgentState(
            document["fence"], instances, document["effects"], document["last_effect"]
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"agent state: {error!r}") from None
    if to_document(state) != document:
        raise ValueError("agent state: unknown fields")
    return state
