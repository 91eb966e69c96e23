"""The environment profile, its agreement with the policy, and the plan out of both."""

from typing import Any

import pytest

from lockstep.documents import DocumentError
from lockstep.plan import resolve_plan
from lockstep.policy import Policy, resolve_policy
from lockstep.profile import EnvironmentProfile, check_bakes, resolve_profile

TARGET = {"name": "main", "kind": "demo", "settings": {"admin_url": "http://127.0.0.1:1"}}
SOURCE = {"name": "main", "kind": "file", "settings": {"path": "x.json"}}


def environment(name: str, **changed: Any) -> dict[str, Any]:
    return {"name": name, "targets": [TARGET], "sources": [SOURCE], **changed}


def document(*environments: Any) -> dict[str, Any]:
    return {
        "schema_version": "lockstep.environment-profile.v1",
        "environments": list(environments),
    }


def policy(**changed: Any) -> Policy:
    return resolve_policy({"schema_version": "lockstep.policy.v1", "service": "web", **changed})


def refused(data: Any) -> dict[str, str]:
    with pytest.raises(DocumentError) as raised:
        resolve_profile(data)
    return {".".join(map(str, p.field)): p.why for p in raised.value.problems}


def test_every_default_is_written_out() -> None:
    profile = resolve_profile(document(environment("dev"), environment("prod")))
    dev, prod = profile.to_map()["environments"]
    assert dev == {
        "name": "dev",
        "production": False,
        "bake_s": 600,
        "targets": [{**TARGET, "wave": 1}],
        "sources": [{**SOURCE, "settle_s": 0, "ingest_delay_s": 0}],
        "task_queue": "lockstep-dev",
        "windows": [],
        "max_parallel": 1,
        "lease_s": 120,
        "progress_deadline_s": 600,
        "source_max_s": 300,
        "max_skew_s": 5,
    }
    assert prod["production"] is True
    assert prod["task_queue"] == "lockstep-prod"


def test_resolving_again_changes_nothing() -> None:
    profile = resolve_profile(document(environment("dev", max_skew_s=60), environment("prod")))
    assert resolve_profile(profile.to_map()) == profile
    assert EnvironmentProfile.from_bytes(profile.to_bytes()) == profile


def test_environments_are_found_by_name_and_kept_in_order() -> None:
    profile = resolve_profile(document(environment("b"), environment("a")))
    assert profile.names() == ["b", "a"]
    assert profile.environment("a") is profile.environments[1]
    assert profile.environment("c") is None


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ("environments", document()),
        ("environments", document(*(environment(f"e{n}") for n in range(11)))),
        ("environments.0.production",
         document(environment("dev", production=True), environment("p"))),
        ("environments.0.production", document(environment("prod", production=False))),
        ("environments.1.name", document(environment("a"), environment("a"))),
        ("environments.0.name", document(environment("default"))),
        ("environments.0.name", document(environment("a/b"))),
        ("environments.0.targets", document(environment("p", targets=[]))),
        ("environments.0.targets", document(environment("p", targets=[TARGET, TARGET]))),
        ("environments.0.sources", document(environment("p", sources=[SOURCE, SOURCE]))),
        ("environments.0.windows", document(environment("p", windows=[{"allow": "x"}]))),
        ("environments.0.bake_s", document(environment("p", bake_s=-1))),
        ("environments.0.lease_s", document(environment("p", lease_s=0))),
        ("environments.0.task_queue", document(environment("p", task_queue="a b"))),
        ("environments.0.target", document(environment("p", target=TARGET))),
        ("environments.0.sources.0.settle_s",
         document(environment("p", sources=[{**SOURCE, "settle_s": 0.5}]))),
        ("environments.0.targets.0.settings.a.0",
         document(environment("p", targets=[{**TARGET, "settings": {"a": [1.5]}}]))),
        ("environments.0.targets.0.settings.a",
         document(environment("p", targets=[{**TARGET, "settings": {"a": None}}]))),
        ("environments.0", document("prod")),
    ],
)  # fmt: skip
def test_what_breaks_the_schema_is_refused_by_field(field: str, data: Any) -> None:
    assert field in refused(data)


def test_several_targets_and_windows_say_that_they_are_not_built() -> None:
    found = refused(document(environment("p", targets=[TARGET, TARGET], windows=[1])))
    assert all("not built in this version" in why for why in found.values())


def test_settings_may_nest_but_not_without_end() -> None:
    fine: Any = {"text": "x", "number": 1, "on": True, "list": [{"a": [1, 2]}]}
    profile = resolve_profile(document(environment("p", targets=[{**TARGET, "settings": fine}])))
    assert profile.environments[0].targets[0].settings == fine
    deep: Any = "x"
    for _ in range(10):
        deep = [deep]
    found = refused(document(environment("p", targets=[{**TARGET, "settings": {"a": deep}}])))
    assert any("nested deeper" in why for why in found.values())


def test_a_bake_on_the_policys_least_passes_and_one_second_below_is_refused() -> None:
    least = policy(bake_min_s={"prod": 60})
    check_bakes(least, resolve_profile(document(environment("prod", bake_s=60))))
    with pytest.raises(DocumentError) as raised:
        check_bakes(least, resolve_profile(document(environment("prod", bake_s=59))))
    assert "environments[0].bake_s" in str(raised.value)
    assert "bake_min_s.prod" in str(raised.value)


@pytest.mark.parametrize(
    "changed",
    [{"bake_min_s": {"prd": 1}}, {"cohorts": {"prd": [100]}}, {"bake_min_s": {"default": 1}}],
)
def test_a_policy_that_names_an_environment_the_profile_lacks_is_refused(changed: dict) -> None:
    """A mistyped name must not quietly weaken production."""
    with pytest.raises(DocumentError, match="no such environment"):
        check_bakes(policy(**changed), resolve_profile(document(environment("prod"))))


def test_the_plan_joins_policy_and_profile() -> None:
    profile = resolve_profile(
        document(
            environment("dev", bake_s=0),
            environment(
                "prod",
                bake_s=60,
                lease_s=30,
                sources=[{**SOURCE, "settle_s": 2, "ingest_delay_s": 3}],
            ),
        )
    )
    dev, prod = resolve_plan(
        policy(cohorts={"dev": [100]}, on_failure="hold", concurrency="refuse"), profile
    )
    assert (dev.name, dev.production, dev.cohorts, dev.bake_s) == ("dev", False, (100,), 0)
    assert (prod.production, prod.cohorts, prod.task_queue) == (
        True,
        (1, 5, 25, 50, 100),
        "lockstep-prod",
    )
    assert (prod.bake_s, prod.extend_s, prod.settle_s, prod.ingest_delay_s) == (60, 60, 2, 3)
    assert (prod.on_failure, prod.on_inconclusive, prod.concurrency) == ("hold", "ask", "refuse")
    assert (prod.lease_s, prod.rollback_max_s, prod.inconclusive_max_s) == (30, 600, 3600)


def test_the_plan_refuses_what_check_bakes_refuses() -> None:
    with pytest.raises(DocumentError):
        resolve_plan(policy(bake_min_s={"p": 601}), resolve_profile(document(environment("p"))))
