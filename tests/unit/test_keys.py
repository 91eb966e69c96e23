"""Key descriptors: derived ids, admission, half-open windows."""

import pytest

from lockstep import layout
from lockstep.errors import DataError, RefusedError
from lockstep.trust.keys import PURPOSES, KeyDescriptor, admit, check_window, derive_key_id
from tests import release_world as world


def test_a_key_id_follows_from_purpose_and_public_key_alone() -> None:
    public_key = world.SIGNER.descriptor.public_key
    ids = {derive_key_id(purpose, public_key) for purpose in PURPOSES}
    assert len(ids) == len(PURPOSES)
    assert derive_key_id("approval", public_key) != world.APPROVER.key_id
    # A fixed value: an id that moved would orphan every stored signature.
    assert derive_key_id("root", bytes(32)) == "root-1c9ba5dfd3040011b4fcebcd42b1aa3b"


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_key_id_is_one_safe_component_of_a_store_key(purpose: str) -> None:
    key_id = derive_key_id(purpose, bytes(32))
    assert layout.component(key_id) == key_id
    assert key_id.startswith(purpose + "-")
    assert len(key_id) == len(purpose) + 1 + 32


def test_an_id_that_was_moved_to_another_key_is_refused() -> None:
    descriptor = world.SIGNER.descriptor
    for changes in (
        {"key_id": world.APPROVER.key_id},
        {"public_key": world.APPROVER.descriptor.public_key},
        {"purpose": "rollout-certificate"},
    ):
        with pytest.raises(DataError, match="does not belong"):
            admit(descriptor.model_copy(update=changes))
    assert admit(descriptor) is descriptor


@pytest.mark.parametrize(
    "public_key",
    [
        b"\x01" + bytes(31),  # the identity: one signature would verify every message
        bytes(32),
        b"\xff" * 32,
    ],
)
def test_a_point_that_may_not_be_a_key_is_refused(public_key: bytes) -> None:
    fields = {
        **world.SIGNER.descriptor.to_map(),
        "key_id": derive_key_id("release-certificate", public_key),
        "public_key": public_key,
    }
    with pytest.raises(DataError) as refused:
        admit(KeyDescriptor.from_map(fields))
    assert refused.value.code == "KEY_REFUSED"


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "rsa"},
        {"purpose": "everything"},
        {"public_key": bytes(31)},
        {"not_after": "tomorrow"},
        {"rotation_max_age_days": 0},
        {"note": "one field too many"},
    ],
)
def test_a_descriptor_is_closed(changes: dict) -> None:
    with pytest.raises(DataError, match=next(iter(changes))):
        KeyDescriptor.from_map({**world.SIGNER.descriptor.to_map(), **changes})


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(DataError, match="not_before"):
        world.key("approval", not_before=world.NOW, not_after=world.NOW)


def test_a_day_that_is_in_no_calendar_is_refused() -> None:
    with pytest.raises(DataError, match="not a UTC time"):
        world.key("approval", not_after="2027-02-30T00:00:00Z")


@pytest.mark.parametrize(
    ("now", "good"),
    [
        ("2026-10-31T23:59:59Z", False),
        (world.BORN, True),
        ("2027-10-31T23:59:59Z", True),
        (world.KEYS_END, False),
    ],
)
def test_a_window_is_half_open(now: str, good: bool) -> None:
    descriptor = world.key("approval", rotation_max_age_days=3650).descriptor
    if good:
        check_window(descriptor, now)
        return
    with pytest.raises(RefusedError) as refused:
        check_window(descriptor, now)
    assert refused.value.code == "CERTIFICATE_EXPIRED"


def test_a_key_older_than_its_cadence_is_refused_inside_its_window() -> None:
    descriptor = world.key("approval", rotation_max_age_days=10).descriptor
    check_window(descriptor, "2026-11-10T23:59:59Z")
    with pytest.raises(RefusedError, match="rotated by 2026-11-11T00:00:00Z"):
        check_window(descriptor, "2026-11-11T00:00:00Z")
