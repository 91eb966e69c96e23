"""What may carry traffic, and how much: the rules of moving, as values."""

import pytest

from activities.moving import check_runs_exactly, drift, weights_for
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError
from lockstep.ports import Instance, TargetState
from tests.workflow.place import CANARY, OTHER, STABLE


def state(*shares: tuple[str, int], unhealthy: str = "") -> TargetState:
    instances = [Instance(name, weight, name != unhealthy) for name, weight in shares]
    return TargetState(tuple(instances), fence_epoch=1)


# ---- drift ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "serving"),
    [
        (state((STABLE, 100)), STABLE),
        (state((STABLE, 100), (CANARY, 0)), STABLE),
        (state((STABLE, 100), (CANARY, 0), unhealthy=CANARY), STABLE),
        (state(), None),
        (state((CANARY, 0)), None),
    ],
)
def test_what_should_serve_and_serves_alone_is_no_drift(
    found: TargetState, serving: str | None
) -> None:
    assert drift(found, serving) is None


@pytest.mark.parametrize(
    ("found", "serving", "why"),
    [
        (state(("legacy", 100)), None, "legacy serves and was never adopted"),
        (state((OTHER, 1)), None, f"{OTHER} serves and was never adopted"),
        (state(), STABLE, "aaaaaaaaaaaa should carry 100 %, found nothing"),
        (state((STABLE, 0)), STABLE, "aaaaaaaaaaaa should carry 100 %, found nothing"),
        (
            state((STABLE, 99), (CANARY, 1)),
            STABLE,
            "aaaaaaaaaaaa should carry 100 %, found aaaaaaaaaaaa 99 %, cccccccccccc 1 %",
        ),
        (
            state((OTHER, 100)),
            STABLE,
            "aaaaaaaaaaaa should carry 100 %, found bbbbbbbbbbbb 100 %",
        ),
        (
            state((STABLE, 100), unhealthy=STABLE),
            STABLE,
            "aaaaaaaaaaaa carries the traffic but is not healthy",
        ),
    ],
)
def test_any_other_share_is_drift_in_words(
    found: TargetState, serving: str | None, why: str
) -> None:
    assert drift(found, serving) == why


# ---- weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [0, 1, 50, 99, 100])
def test_the_shares_of_both_sides_make_a_hundred(percent: int) -> None:
    assert weights_for(CANARY, STABLE, percent) == {CANARY: percent, STABLE: 100 - percent}


@pytest.mark.parametrize("percent", [1, 100])
def test_a_release_that_has_nobody_to_share_with_gets_everything(percent: int) -> None:
    assert weights_for(CANARY, None, percent) == {CANARY: 100}
    assert weights_for(CANARY, CANARY, percent) == {CANARY: 100}


# ---- what runs -----------------------------------------------------------------------------

APP, CONFIG = sha256(b"app"), sha256(b"config")


def running(artifacts: dict[str, bytes], configs: dict[str, bytes]) -> Instance:
    return Instance(
        CANARY,
        0,
        True,
        {name: to_text(digest) for name, digest in artifacts.items()},
        {name: to_text(digest) for name, digest in configs.items()},
    )


def test_exactly_the_releases_files_may_run() -> None:
    check_runs_exactly(running({"a": APP}, {"c": CONFIG}), {"a": APP}, {"c": CONFIG})
    check_runs_exactly(running({}, {}), {}, {})


@pytest.mark.parametrize(
    ("instance", "why"),
    [
        (running({"a": CONFIG}, {"c": CONFIG}), f"artifact a: expected {to_text(APP)}"),
        (running({}, {"c": CONFIG}), "runs None"),
        (running({"a": APP, "b": APP}, {"c": CONFIG}), "artifact b: expected None"),
        (running({"a": APP}, {"c": APP}), f"config c: expected {to_text(CONFIG)}"),
        (running({"a": APP}, {}), "config c: .*runs None"),
        (running({"a": APP}, {"c": CONFIG, "d": APP}), "config d: expected None"),
    ],
    ids=["other bytes", "missing", "one more", "other config", "no config", "config more"],
)
def test_any_difference_is_named(instance: Instance, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        check_runs_exactly(instance, {"a": APP}, {"c": CONFIG})
    assert caught.value.code == "NOT_DEPLOYED"
