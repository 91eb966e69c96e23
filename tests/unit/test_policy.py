"""The policy: what resolves to what, and what is refused by which field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.digest import sha256
from lockstep.documents import DocumentError, parse_json
from lockstep.policy import Policy, resolve_policy

LEAST = {"schema_version": "lockstep.policy.v1", "service": "web"}

RESOLVED = {
    "schema_version": "lockstep.policy.v1",
    "service": "web",
    "cohorts": {"default": [1, 5, 25, 50, 100]},
    "bake_min_s": {},
    "gate": {
        "profile": "strict-v1",
        "error_rate_max": 0.005,
        "p95_latency_delta_max_percent": 10.0,
        "replay_failures_max": 0,
        "level": 0.95,
        "min_requests": 100,
        "custom": [],
    },
    "guards": [],
    "checks": [],
    "on_failure": "rollback",
    "on_inconclusive": "ask",
    "inconclusive_max_s": 3600,
    "rollback_max_s": 600,
    "keep_warm_s": 1800,
    "lower_environments": "restore",
    "first_release": "refuse",
    "concurrency": "queue",
    "approvals": {"production": {"required": 1, "separation_of_duty": True}},
    "evidence": {"certificate_max_age_d": 90, "allow": []},
    "retention": {},
    "plans": {},
}


def refused(**changed: Any) -> dict[str, str]:
    """Field → why, of every problem found."""
    with pytest.raises(DocumentError) as raised:
        resolve_policy({**LEAST, **changed})
    assert raised.value.code == "DOCUMENT_INVALID"
    return {".".join(map(str, p.field)): p.why for p in raised.value.problems}


def test_every_default_is_written_out() -> None:
    policy = resolve_policy(LEAST)
    assert policy.to_map() == RESOLVED
    assert type(policy.to_map()["gate"]["p95_latency_delta_max_percent"]) is float


def test_the_digest_is_that_of_the_resolved_bytes_and_never_moves() -> None:
    """A changed default changes every policy_bundle_hash: that needs a new schema version."""
    policy = resolve_policy(LEAST)
    assert policy.digest() == sha256(policy.to_bytes())
    assert policy.digest().hex() == (
        "0ab961ffd94c6dd56854b189ed9f465e34289545f6c93eb21b6296955478053c"
    )


def test_an_integer_where_a_ratio_stands_resolves_to_the_same_bytes() -> None:
    written = {**LEAST, "gate": {"p95_latency_delta_max_percent": 10}}
    assert resolve_policy(written).to_bytes() == resolve_policy(LEAST).to_bytes()


def test_one_list_of_cohorts_and_a_map_of_defaults_resolve_alike() -> None:
    a_list = resolve_policy({**LEAST, "cohorts": [10, 100]})
    a_map = resolve_policy({**LEAST, "cohorts": {"default": [10, 100]}})
    assert a_list.to_bytes() == a_map.to_bytes()


def test_an_environment_may_have_cohorts_of_its_own() -> None:
    policy = resolve_policy({**LEAST, "cohorts": {"dev": [0, 100]}})
    assert policy.cohorts_for("dev") == (0, 100)
    assert policy.cohorts_for("prod") == (1, 5, 25, 50, 100)


def test_bakes_and_extensions_are_looked_up_per_environment() -> None:
    policy = resolve_policy({**LEAST, "bake_min_s": {"prod": 600}})
    assert (policy.bake_min_for("prod"), policy.bake_min_for("dev")) == (600, 0)
    assert policy.extend_s_for("prod", 600) == 600
    assert policy.extend_s_for("dev", 0) == 1, "looks without a pause would spin"
    assert resolve_policy({**LEAST, "extend_s": 30}).extend_s_for("prod", 600) == 30


@pytest.mark.parametrize(
    "cohorts", [[], [50], [100, 100], [5, 1, 100], [-1, 100], [1, 101], [1, 2.5, 100], [True, 100]]
)
def test_cohorts_that_do_not_grow_to_100_are_refused(cohorts: list[Any]) -> None:
    assert any(field.startswith("cohorts.default") for field in refused(cohorts=cohorts))


@pytest.mark.parametrize("cohorts", [[100], [0, 100], [1, 100], list(range(81, 101))])
def test_cohorts_that_grow_to_100_are_kept(cohorts: list[int]) -> None:
    assert resolve_policy({**LEAST, "cohorts": cohorts}).cohorts_for("x") == tuple(cohorts)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("gate.profile", {"gate": {"profile": "interval-v1"}}),
        ("gate.shadow", {"gate": {"shadow": "interval-v1"}}),
        ("gate.custom", {"gate": {"custom": [{"name": "x"}]}}),
        ("guards", {"guards": [{"metric": "x"}]}),
        ("checks", {"checks": [{"http": "x"}]}),
        ("retention", {"retention": {"production": 1}}),
        ("plans", {"plans": {"fast": {}}}),
        ("evidence.allow", {"evidence": {"allow": ["x"]}}),
        ("on_failure", {"on_failure": "roll_forward"}),
        ("concurrency", {"concurrency": "supersede"}),
        ("concurrency", {"concurrency": {"queue": "latest"}}),
        ("concurrency", {"concurrency": "queue: latest"}),
    ],
)
def test_what_is_not_built_is_refused_and_never_ignored(field: str, changed: dict) -> None:
    assert "not built in this version" in refused(**changed)[field]


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("error_rate_max", 0.01),
        ("error_rate_max", 0.004),
        ("p95_latency_delta_max_percent", 10.5),
        ("replay_failures_max", 1),
    ],
)
def test_strict_v1_refuses_other_limits(name: str, limit: float) -> None:
    assert "strict-v1 fixes this" in refused(gate={name: limit})[f"gate.{name}"]


def test_an_absolute_p95_may_be_named_beside_strict_v1() -> None:
    policy = resolve_policy({**LEAST, "gate": {"absolute_p95_max_us": 250_000}})
    assert policy.to_map()["gate"]["absolute_p95_max_us"] == 250_000


def test_hold_is_supported() -> None:
    assert resolve_policy({**LEAST, "on_failure": "hold"}).on_failure == "hold"


def test_unknown_keys_name_what_is_allowed_and_what_was_meant() -> None:
    found = refused(gate={"eror_rate_max": 0.1}, on_failur="hold")
    assert "did you mean 'error_rate_max'" in found["gate.eror_rate_max"]
    assert "absolute_p95_max_us" in found["gate.eror_rate_max"]
    assert "did you mean 'on_failure'" in found["on_failur"]


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("service", {"service": "../x"}),
        ("service", {"service": 7}),
        ("schema_version", {"schema_version": "lockstep.policy.v2"}),
        ("gate.level", {"gate": {"level": True}}),
        ("gate.level", {"gate": {"level": float("nan")}}),
        ("gate.error_rate_max", {"gate": {"error_rate_max": float("inf")}}),
        ("gate.absolute_p95_max_us", {"gate": {"absolute_p95_max_us": 0}}),
        ("bake_min_s.prod", {"bake_min_s": {"prod": -1}}),
        ("bake_min_s.prod", {"bake_min_s": {"prod": 1.5}}),
        ("extend_s", {"extend_s": 0}),
        ("rollback_max_s", {"rollback_max_s": "600"}),
        ("approvals.production.required", {"approvals": {"production": {"required": 0}}}),
        ("approvals.staging", {"approvals": {"staging": {"required": 1}}}),
        ("on_inconclusive", {"on_inconclusive": "promote"}),
    ],
)
def test_values_out_of_bounds_name_their_field(field: str, changed: dict) -> None:
    assert field in refused(**changed)


def test_missing_fields_and_other_shapes_are_refused() -> None:
    with pytest.raises(DocumentError, match="service: is required"):
        resolve_policy({"schema_version": "lockstep.policy.v1"})
    for shape in ([], "policy", None, 3):
        with pytest.raises(DocumentError):
            resolve_policy(shape)


def test_all_problems_are_told_at_once() -> None:
    assert set(refused(guards=[1], checks=[1], on_failure="roll_forward")) == {
        "guards",
        "checks",
        "on_failure",
    }


@given(
    cohorts=st.sets(st.integers(0, 99), max_size=8).map(lambda s: [*sorted(s), 100]),
    bakes=st.dictionaries(st.sampled_from(["dev", "prod"]), st.integers(0, 10_000)),
    absolute=st.none() | st.integers(1, 10**9),
    on_failure=st.sampled_from(["rollback", "hold"]),
)
def test_resolving_again_changes_nothing(
    cohorts: list[int], bakes: dict, absolute: int | None, on_failure: str
) -> None:
    gate = {} if absolute is None else {"absolute_p95_max_us": absolute}
    written = {
        **LEAST,
        "cohorts": cohorts,
        "bake_min_s": bakes,
        "gate": gate,
        "on_failure": on_failure,
    }
    policy = resolve_policy(written)
    assert resolve_policy(policy.to_map()) == policy
    assert Policy.from_bytes(policy.to_bytes()) == policy


@pytest.mark.parametrize(
    "text",
    [b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}', b"{", b"\xff", b"[" * 100_000, b"1" * 5000],
)
def test_json_that_lies_is_refused(text: bytes) -> None:
    with pytest.raises(DocumentError):
        parse_json(text)


def test_json_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(DocumentError, match="larger than 10 bytes"):
        parse_json(b'"' + b"x" * 10 + b'"', size_max_bytes=10)
