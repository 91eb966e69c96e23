"""What a stack should run, what a repair does, where its ports lie, what its status says."""

import json
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from client.devstack import files, state
from client.devstack.state import Process, Stack, plan_repair, wanted_roles
from lockstep.errors import DataError
from lockstep.policy import resolve_policy
from lockstep.profile import check_bakes, resolve_profile
from lockstep.settings import load_context

FOLDER = Path("/stack")
STACK = Stack(
    stack_id="1", folder=str(FOLDER), ports=state.ports_at(20_000), workers="split", load=True
)


def running(*roles: str) -> list[Process]:
    return [
        Process(role=role, pid=100 + n, ticks=n, started="2026-01-01T00:00:00Z", log="")
        for n, role in enumerate(roles)
    ]


def test_a_stack_is_server_then_targets_then_workers_then_users():
    assert wanted_roles(STACK) == [
        "temporal",
        *("agent-dev", "agent-staging", "agent-prod"),
        *("worker-control", "worker-dev", "worker-staging", "worker-prod"),
        *("load-dev", "load-staging", "load-prod"),
    ]
    small = STACK.model_copy(update={"workers": "all", "load": False})
    assert wanted_roles(small)[-1] == "worker-all"


def test_a_repair_starts_what_is_missing_and_leaves_the_rest_alone():
    alive = running(*[role for role in wanted_roles(STACK) if role != "agent-prod"])
    plan = plan_repair(wanted_roles(STACK), alive)
    assert (plan.start, plan.end, plan.keep) == (("agent-prod",), (), tuple(alive))


def test_a_repair_ends_what_is_not_wanted_or_runs_twice():
    first, second, stranger = running("temporal", "temporal", "worker-all")
    plan = plan_repair(["temporal", "worker-control"], [first, second, stranger])
    assert plan.end == (second, stranger)
    assert plan.keep == (first,)
    assert plan.start == ("worker-control",)


def test_ports_from_a_base_are_distinct_and_a_taken_one_is_named():
    ports = state.choose_ports(FOLDER, 20_000, lambda port: True)
    assert ports.temporal == 20_000
    assert len(set(ports.all())) == len(ports.all()) < state.PORTS_STEP
    with pytest.raises(DataError) as taken:
        state.choose_ports(FOLDER, 20_000, lambda port: port != 20_001)
    assert taken.value.place == "127.0.0.1:20001"


def test_ports_that_are_found_are_the_first_free_block():
    first = state.choose_ports(FOLDER, None, lambda port: True)
    assert first == state.choose_ports(FOLDER, None, lambda port: True)
    second = state.choose_ports(FOLDER, None, lambda port: port != first.ui)
    assert not set(first.all()) & set(second.all())
    with pytest.raises(DataError, match="no free ports"):
        state.choose_ports(FOLDER, None, lambda port: False)


@pytest.mark.parametrize("base", [80, 65_530])
def test_a_base_outside_the_range_is_refused(base):
    with pytest.raises(DataError) as refused:
        state.choose_ports(FOLDER, base, lambda port: True)
    assert refused.value.code == "USAGE"


FIELDS = [
    *("schema_version", "state", "temporal_address", "namespace", "ui_url", "store"),
    *("proxy_url", "metrics_url", "folder", "processes", "missing", "environments"),
]


def test_the_status_has_the_same_fields_up_partial_and_down():
    whole = state.status_document(STACK, FOLDER, running(*wanted_roles(STACK)))
    partial = state.status_document(STACK, FOLDER, running("load-prod", "temporal"))
    down = state.status_document(STACK, FOLDER, [])
    none = state.status_document(None, FOLDER, [])
    assert [d["state"] for d in (whole, partial, down, none)] == ["up", "partial", "down", "down"]
    assert all(list(d) == FIELDS for d in (whole, partial, down, none))
    assert [one["role"] for one in partial["processes"]] == ["temporal", "load-prod"]
    assert set(whole["processes"][0]) == {"role", "pid", "started", "log"}
    assert whole["proxy_url"] == whole["environments"]["prod"]["proxy_url"]
    assert whole["store"] == "file:///stack/store"


def test_a_stack_file_is_read_back_and_a_broken_one_refused(tmp_path):
    assert state.load_stack(tmp_path) is None
    stack = STACK.model_copy(update={"folder": str(tmp_path), "processes": running("temporal")})
    state.save_stack(stack)
    assert state.load_stack(tmp_path) == stack
    path = tmp_path / state.STATE_FILE
    for broken in ("{", "{}", json.dumps(stack.model_dump() | {"more": 1})):
        path.write_text(broken)
        with pytest.raises(DataError) as refused:
            state.load_stack(tmp_path)
        assert refused.value.code == "STACK_STATE"


# ---- the files it writes --------------------------------------------------------------------


def test_policy_and_profile_resolve_and_agree():
    policy = resolve_policy(YAML(typ="safe").load(files.policy_text()))
    profile = resolve_profile(YAML(typ="safe").load(files.profile_text(STACK)))
    check_bakes(policy, profile)
    assert policy.cohorts_for("prod") == (1, 5, 25, 50, 100)
    assert [(e.name, e.production) for e in profile.environments] == [
        ("dev", False),
        ("staging", False),
        ("prod", True),
    ]


def test_a_look_at_one_percent_sees_twenty_requests_with_a_margin():
    assert files.LOAD_PER_S * files.BAKE_S * 0.01 >= 20 * 1.2


def test_the_context_is_read_back_with_its_paths_and_references():
    text = files.settings_text(STACK, "sha256:" + "0" * 64, {"root": 'file:/k/"odd".json'})
    assert tomllib.loads(text)["current"] == "dev"
    context = load_context(text.encode(), None, {}, folder="/stack")
    assert context.development
    assert context.store == "file:///stack/store"
    assert context.policy == "/stack/policy.yaml"
    assert context.profile == "/stack/profile.yaml"
    assert context.keys == {"root": 'file:/k/"odd".json'}
    assert context.temporal_address == "127.0.0.1:20000"
