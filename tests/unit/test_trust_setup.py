"""The trust of a development stack: made once, found again, issued anew before it goes stale."""

import shutil
from pathlib import Path

import pytest

from activities.adapters.secrets import resolve_key
from activities.adapters.store import open_store
from activities.adapters.store.ledger import Ledger
from activities.adapters.trust_setup import DEV_PURPOSES, DevTrust, create_dev_trust
from lockstep import utc
from lockstep.digest import from_text
from lockstep.errors import DataError
from lockstep.ports import Store
from lockstep.trust.root import (
    check_revocations_fresh,
    check_root_fresh,
    verify_revocations,
    verify_root,
)

NOW = "2026-11-21T12:00:00Z"
TENANT = "demo"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return open_store((tmp_path / "store").as_uri())


def create(tmp_path: Path, store: Store, now: str = NOW) -> DevTrust:
    return create_dev_trust(tmp_path / "keys", store, TENANT, now)


def test_root_bundle_and_keys_verify_in_earnest(tmp_path: Path, store: Store) -> None:
    trust = create(tmp_path, store)
    assert trust.created
    ledger = Ledger(store, TENANT)
    version, data = ledger.latest_trust_root()
    assert version == 1
    root = verify_root(data, tenant_id=TENANT, pinned=from_text(trust.pin))
    check_root_fresh(root, NOW)
    bundle = verify_revocations(ledger.latest_revocations()[1], root)
    check_revocations_fresh(bundle, NOW)
    assert bundle.signed_payload.entries == []
    for purpose in DEV_PURPOSES:
        key = resolve_key(trust.keys[purpose], development=True, purpose=purpose)
        assert root.key(key.key_id) == key.descriptor
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0


def test_a_repeat_changes_nothing(tmp_path: Path, store: Store) -> None:
    first = create(tmp_path, store)
    again = create(tmp_path, store, utc.plus_days(NOW, 1))
    assert (again.pin, again.keys, again.created) == (first.pin, first.keys, False)
    assert Ledger(store, TENANT).latest_revocations()[0] == 1


def test_a_bundle_near_its_end_is_issued_again_as_the_next_version(
    tmp_path: Path, store: Store
) -> None:
    create(tmp_path, store)
    ledger = Ledger(store, TENANT)
    first = ledger.latest_revocations()[1]
    create(tmp_path, store, utc.plus_days(NOW, 14))
    assert ledger.latest_revocations()[0] == 1
    later = utc.plus_days(NOW, 40)
    create(tmp_path, store, later)
    version, data = ledger.latest_revocations()
    assert version == 2
    root = verify_root(ledger.latest_trust_root()[1], tenant_id=TENANT, pinned=None)
    check_revocations_fresh(verify_revocations(data, root), later)
    assert ledger.revocations(1) == first


def test_other_keys_do_not_take_over_a_store(tmp_path: Path, store: Store) -> None:
    create(tmp_path, store)
    before = Ledger(store, TENANT).latest_trust_root()
    shutil.rmtree(tmp_path / "keys")
    with pytest.raises(DataError) as refused:
        create(tmp_path, store)
    assert refused.value.code == "TRUST_ROOT_INVALID"
    assert Ledger(store, TENANT).latest_trust_root() == before


def test_the_same_keys_give_the_same_root_in_a_new_store(tmp_path: Path, store: Store) -> None:
    first = create(tmp_path, store)
    (tmp_path / "other").mkdir()
    other = open_store((tmp_path / "other").as_uri())
    assert create(tmp_path, other, utc.plus_days(NOW, 2)).pin == first.pin
