"""The demo agent's rules: which change is legal, what counts as an effect, what a crash loses."""

import json

import pytest

from infra.demo import agent_state as rules
from infra.demo.agent_state import AgentState, Placed, Refusal
from infra.demo.journal import Journal

LEGACY = AgentState(fence=4, instances=(Placed("legacy", "legacy", 100),), effects=1)
PAIR = rules.started(LEGACY, 4, "new", "new")


def test_an_effect_is_numbered_and_names_its_epoch_and_change():
    assert PAIR.effects == 2
    assert PAIR.last_effect == {"number": 2, "epoch": 4, "change": "start", "release": "new"}


@pytest.mark.parametrize("epoch", [None, 0, 3, 5, "4", True, 4.0])
def test_every_epoch_but_the_fences_is_refused(epoch):
    for change in (
        lambda: rules.started(LEGACY, epoch, "new", "new"),
        lambda: rules.weighted(LEGACY, epoch, {"legacy": 100}),
        lambda: rules.retired(LEGACY, epoch, "legacy"),
        lambda: rules.adopted(LEGACY, epoch, "legacy", "new"),
    ):
        with pytest.raises(Refusal) as refused:
            change()
        assert (refused.value.status, refused.value.document["code"]) == (409, "FENCED")
        assert refused.value.document["known"] == 4


def test_the_fence_only_rises():
    assert rules.fence_raised(LEGACY, 4) is LEGACY
    assert rules.fence_raised(LEGACY, 9).fence == 9
    with pytest.raises(Refusal, match="under 4"):
        rules.fence_raised(LEGACY, 3)


def test_a_change_that_changes_nothing_is_the_very_same_state():
    assert rules.started(PAIR, 4, "new", "new") is PAIR
    assert rules.weighted(PAIR, 4, {"legacy": 100, "new": 0}) is PAIR
    assert rules.weighted(PAIR, 4, {"legacy": 100}) is PAIR
    assert rules.retired(PAIR, 4, "absent") is PAIR
    renamed = rules.adopted(LEGACY, 4, "legacy", "known")
    assert rules.adopted(renamed, 4, "legacy", "known") is renamed


@pytest.mark.parametrize(
    ("weights", "code"),
    [
        ({"legacy": 99}, "DOCUMENT_INVALID"),
        ({"legacy": 99, "new": 2}, "DOCUMENT_INVALID"),
        ({"legacy": 101, "new": -1}, "DOCUMENT_INVALID"),
        ({"legacy": 99.0, "new": 1}, "DOCUMENT_INVALID"),
        ({"legacy": 99, "new": True}, "DOCUMENT_INVALID"),
        ({}, "DOCUMENT_INVALID"),
        ([], "DOCUMENT_INVALID"),
        ({"absent": 100}, "NOT_DEPLOYED"),
    ],
)
def test_weights_that_are_none_are_refused(weights, code):
    with pytest.raises(Refusal) as refused:
        rules.weighted(PAIR, 4, weights)
    assert refused.value.document["code"] == code


def test_all_weights_may_be_nought_for_a_first_release_goes_back_to_nobody():
    alone = rules.started(AgentState(fence=1), 1, "new", "new")
    shared = rules.weighted(alone, 1, {"new": 100})
    assert rules.weighted(shared, 1, {"new": 0}).of("new").weight == 0


def test_what_has_traffic_is_not_retired():
    with pytest.raises(Refusal, match="100 %"):
        rules.retired(PAIR, 4, "legacy")
    assert rules.retired(PAIR, 4, "new").of("new") is None


def test_two_instances_never_answer_to_one_name():
    with pytest.raises(Refusal, match="runs here already"):
        rules.adopted(PAIR, 4, "legacy", "new")


def test_the_number_of_releases_is_bounded():
    state = AgentState(fence=1)
    for number in range(rules.INSTANCES_MAX):
        state = rules.started(state, 1, f"r{number}", f"r{number}")
    with pytest.raises(Refusal, match="retire one"):
        rules.started(state, 1, "more", "more")


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 101, None, 7])
def test_a_name_is_one_safe_path_component(name):
    with pytest.raises(Refusal):
        rules.checked_name(name)


def test_the_document_is_read_back_and_nothing_else_is():
    document = json.loads(json.dumps(rules.to_document(PAIR)))
    assert rules.from_document(document) == PAIR
    for broken in ({}, document | {"more": 1}, document | {"schema_version": "x"}, [], None):
        with pytest.raises(ValueError, match="agent state"):
            rules.from_document(broken)


# ---- on the disk ----------------------------------------------------------------------------


def effects(folder):
    return [json.loads(line)["number"] for line in (folder / "effects.jsonl").open()]


def test_a_written_state_is_read_back_with_its_effects(tmp_path):
    journal = Journal(tmp_path)
    assert journal.load() is None
    first = rules.fence_raised(AgentState(), 1)
    second = rules.started(first, 1, "new", "new")
    journal.write(first)
    journal.write(second)
    assert Journal(tmp_path).load() == second
    assert effects(tmp_path) == [1, 2]


@pytest.mark.parametrize("torn", [0, 1, 20])
def test_an_effect_that_a_crash_kept_from_its_list_is_added_once(tmp_path, torn):
    """The state was replaced; of the last line ``torn`` bytes reached the disk."""
    journal = Journal(tmp_path)
    first = rules.fence_raised(AgentState(), 1)
    journal.write(first)
    journal.write(rules.started(first, 1, "new", "new"))
    path = tmp_path / "effects.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:torn])
    Journal(tmp_path).load()
    Journal(tmp_path).load()
    whole = [line for line in path.read_bytes().split(b"\n") if line.endswith(b"}")]
    assert [json.loads(line)["number"] for line in whole] == [1, 2]


def test_a_state_that_is_broken_is_refused_not_replaced(tmp_path):
    (tmp_path / "agent.json").write_text("{")
    with pytest.raises(ValueError, match="property name"):
        Journal(tmp_path).load()
