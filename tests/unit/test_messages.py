"""Messages between programs: closed, strict, the same after the wire, and never over 8 KiB."""

import asyncio
import enum
import json
import types
import typing
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload

from lockstep import messages as m
from lockstep.errors import LockstepError
from workflows.connection import DATA_CONVERTER, SizeGuard

DIGEST = "sha256:" + "ab" * 32
MESSAGES = sorted(
    (
        kind
        for kind in vars(m).values()
        if isinstance(kind, type) and issubclass(kind, m.Message) and kind is not m.Message
    ),
    key=lambda kind: kind.__name__,
)
each_message = pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)


def sample(kind: type[m.Message]) -> m.Message:
    """A message with every field set, optional ones too."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return kind(**{name: value_of(hints[name], name) for name in kind.model_fields})


TEXTS = {m.RunId: "0123456789abcdef", m.DigestText: DIGEST, m.Name: "prod"}


def value_of(annotation: Any, name: str) -> Any:
    if annotation in TEXTS:
        return TEXTS[annotation]
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return value_of(parts[0], name)
    if origin in (typing.Union, types.UnionType):
        return value_of(parts[0], name)
    if origin is tuple:
        return (value_of(parts[0], name),)
    if origin is dict:
        return {"prod": value_of(parts[1], name)}
    if issubclass(annotation, m.Message):
        return sample(annotation)
    if issubclass(annotation, enum.Enum):
        return next(iter(annotation))
    return {str: f"some {name}", int: 7, bool: True}[annotation]


def test_there_are_messages_to_look_at() -> None:
    assert len(MESSAGES) > 30
    assert {m.RolloutRequest, m.EvaluateResult, m.TraceCursor} <= set(MESSAGES)


@each_message
def test_a_message_comes_over_the_wire_as_it_was_sent(kind: type[m.Message]) -> None:
    sent = sample(kind)

    async def over() -> Any:
        payloads = await DATA_CONVERTER.encode([sent])
        (received,) = await DATA_CONVERTER.decode(payloads, [kind])
        return received

    assert asyncio.run(over()) == sent


@each_message
def test_an_unknown_field_is_refused(kind: type[m.Message]) -> None:
    document = json.loads(sample(kind).model_dump_json())
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        kind.model_validate_json(json.dumps({**document, "added_later": 1}))


@each_message
def test_a_missing_required_field_is_refused(kind: type[m.Message]) -> None:
    document = json.loads(sample(kind).model_dump_json())
    for name, field in kind.model_fields.items():
        less = {key: value for key, value in document.items() if key != name}
        if field.is_required():
            with pytest.raises(ValidationError, match=name):
                kind.model_validate_json(json.dumps(less))
        else:
            kind.model_validate_json(json.dumps(less))


@each_message
def test_a_message_cannot_be_changed(kind: type[m.Message]) -> None:
    made = sample(kind)
    for name in kind.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(made, name, None)


def changed(kind: type[m.Message], **fields: Any) -> Callable[[], m.Message]:
    document = json.loads(sample(kind).model_dump_json()) | fields
    return lambda: kind.model_validate_json(json.dumps(document))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (m.ShiftRequest, {"percent": 0}, {"percent": -1}),
        (m.ShiftRequest, {"percent": 100}, {"percent": 101}),
        (m.ShiftRequest, {"percent": 5}, {"percent": "5"}),
        (m.ShiftRequest, {"percent": 5}, {"percent": 5.0}),
        (m.ShiftRequest, {"baseline_release": None}, {"baseline_release": "ab" * 32}),
        (m.ShiftResult, {"opened": DIGEST}, {"opened": DIGEST.upper()}),
        (m.TraceCursor, {"t": 0}, {"t": -1}),
        (m.RolloutRequest, {"attempt": 1}, {"attempt": 0}),
        (m.RolloutRequest, {"run_id": "0" * 16}, {"run_id": "0" * 15}),
        (m.RolloutRequest, {"run_id": "0" * 16}, {"run_id": "F" * 16}),
        (m.RolloutRequest, {"dry_run": False}, {"dry_run": 0}),
        (m.RolloutRequest, {"service": "a.b_c-d"}, {"service": "a/b"}),
        (m.RolloutRequest, {"tenant_id": "t" * 63}, {"tenant_id": "t" * 64}),
        (
            m.RolloutRequest,
            {"environments": [{"name": "e", "task_queue": "q"}] * 10},
            {"environments": [{"name": "e", "task_queue": "q"}] * 11},
        ),
        (
            m.RolloutRequest,
            {"environments": [{"name": "e", "task_queue": "q"}]},
            {"environments": []},
        ),
        (m.ActionRequest, {"reason": "r" * 400}, {"reason": "r" * 401}),
        (m.ActionRequest, {"action_id": "a"}, {"action_id": ""}),
        (m.CheckResult, {"detail": "d" * 600}, {"detail": "d" * 601}),
        (m.CheckResult, {"outcome": "fail"}, {"outcome": "FAIL"}),
        (m.EvaluateResult, {"outcome": "FAIL"}, {"outcome": "fail"}),
    ],
)
def test_both_sides_of_each_bound(kind: type[m.Message], good: dict, bad: dict) -> None:
    changed(kind, **good)()
    with pytest.raises(ValidationError):
        changed(kind, **bad)()


# ---- 8 KiB ---------------------------------------------------------------------------------


def guard(data: bytes) -> list[Payload]:
    return asyncio.run(SizeGuard().encode([Payload(data=b"small"), Payload(data=data)]))


def test_a_payload_of_8_kib_passes_and_one_byte_more_is_refused() -> None:
    assert [len(payload.data) for payload in guard(b"x" * 8192)] == [5, 8192]
    with pytest.raises(LockstepError, match="8193 bytes, limit 8192") as refused:
        guard(b"x" * 8193)
    assert refused.value.code == "PAYLOAD_TOO_LARGE"


def test_every_message_goes_through_the_guard() -> None:
    text = "x" * (8192 - 2)  # two quotes around it
    assert len(asyncio.run(DATA_CONVERTER.encode([text]))) == 1
    with pytest.raises(LockstepError, match="PAYLOAD_TOO_LARGE"):
        asyncio.run(DATA_CONVERTER.encode([text + "x"]))


def test_what_an_older_program_sent_is_read_whatever_its_size() -> None:
    """Refusing is for who writes: a history with a large payload must stay readable."""
    large = [Payload(data=b"x" * 10_000)]
    assert asyncio.run(SizeGuard().decode(large)) == large


def stages(count: int) -> tuple[m.StageStatus, ...]:
    """Stages as full as they may be."""
    fullest = {
        "action": "evaluate",
        "outcome": "INCONCLUSIVE",
        "looks": 10_000,
        "snapshot_hash": DIGEST,
        "verdict_hash": DIGEST,
        "started": "2026-01-01T00:00:00Z",
        "ended": "2026-01-01T00:00:00Z",
        "summary": "s" * 600,
    }
    return tuple(m.StageStatus(stage=f"staging/{n}", **fullest) for n in range(count))


@pytest.mark.parametrize(
    "message",
    [
        sample(m.EnvironmentResult).model_copy(
            update={"stages": stages(5), "cause": "c" * 600}, deep=True
        ),
        sample(m.EnvironmentStatus).model_copy(
            update={"stages": stages(5), "waits_for": "w" * 600}, deep=True
        ),
        sample(m.PreflightResult).model_copy(
            update={
                "failures": (sample(m.CheckResult).model_copy(update={"detail": "d" * 600}),) * 5,
                "plan": (sample(m.EnvironmentPlan),) * 3,
            }
        ),
    ],
    ids=lambda message: type(message).__name__,
)
def test_the_largest_messages_of_five_cohorts_fit_with_every_text_full(message: m.Message) -> None:
    assert len(asyncio.run(DATA_CONVERTER.encode([message]))) == 1
