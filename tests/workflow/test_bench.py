"""A worker does its own tenant's and environments' work only, by documents that it can read."""

import pytest

from activities.bench import Bench
from lockstep import cbor, layout
from lockstep.digest import from_text, to_text
from lockstep.errors import LockstepError, RefusedError, UnavailableError
from tests.stores import behind, code_of
from tests.workflow.place import SERVICE, TENANT, Place, make_place


def test_its_own_tenant_and_environment_are_served(place: Place) -> None:
    place.bench.own(place.run)
    place.bench.own(place.run, "dev")


@pytest.mark.parametrize(
    ("changes", "environment", "why"),
    [
        ({"tenant_id": "other"}, None, "tenant demo was given work of other"),
        ({"tenant_id": "other"}, "dev", "tenant demo was given work of other"),
        ({}, "prod", "does not serve prod"),
        ({}, "", "does not serve "),
    ],
)
def test_work_of_another_tenant_or_environment_is_refused(
    place: Place, changes: dict, environment: str | None, why: str
) -> None:
    with pytest.raises(RefusedError, match=why) as caught:
        place.bench.own(place.run.model_copy(update=changes), environment)
    assert caught.value.code == "NOT_AUTHORISED"


def test_a_pure_control_worker_serves_no_environment(place: Place) -> None:
    bench = Bench(place.bench.store, place.bench.tenant, place.bench.now_us, frozenset())
    bench.own(place.run)
    assert code_of(lambda: bench.own(place.run, "dev")) == "NOT_AUTHORISED"


def test_policy_and_profile_are_read_by_their_digests(place: Place) -> None:
    assert place.bench.policy(place.run).service == SERVICE
    assert place.bench.profile(place.run).names() == ["dev", "prod"]
    assert place.bench.environment(place.run, "prod").production


def test_an_environment_that_the_profile_lacks_is_named(place: Place) -> None:
    with pytest.raises(LockstepError, match="DOCUMENT_INVALID: the profile has no environment qa"):
        place.bench.environment(place.run, "qa")


def test_a_document_that_is_gone_or_altered_is_not_read(place: Place) -> None:
    bench, run = place.bench, place.run
    gone = run.model_copy(update={"policy_bundle_hash": "sha256:" + "0" * 64})
    assert code_of(lambda: bench.policy(gone)) == "OBJECT_MISSING"
    key = layout.cas(TENANT, from_text(run.env_manifest_hash))
    behind(bench.store, key, b"other bytes")
    assert code_of(lambda: bench.profile(run)) == "OBJECT_CORRUPT"


def test_a_document_that_is_not_in_its_resolved_form_is_refused(place: Place) -> None:
    """Defaults written out belong to the digest: a short form would hide what was decided."""
    short = {"schema_version": "lockstep.policy.v1", "service": SERVICE}
    digest = place.bench.cas.put(cbor.encode(short))
    run = place.run.model_copy(update={"policy_bundle_hash": to_text(digest)})
    with pytest.raises(LockstepError, match="not in its resolved form"):
        place.bench.policy(run)


@pytest.mark.parametrize("skew_s", [0.0, 4.0, -4.0])
def test_clocks_that_nearly_agree_are_let_through(tmp_path, skew_s: float) -> None:
    place = make_place(tmp_path, skew_s=skew_s)
    place.bench.check_clock(place.bench.environment(place.run, "dev"))


@pytest.mark.parametrize("skew_s", [6.0, -6.0])
def test_clocks_that_differ_by_more_than_the_profile_allows_stop_progress(
    tmp_path, skew_s: float
) -> None:
    place = make_place(tmp_path, skew_s=skew_s)
    with pytest.raises(UnavailableError, match=r"differ by 6\.0 s, limit 5 s") as caught:
        place.bench.check_clock(place.bench.environment(place.run, "dev"))
    assert caught.value.code == "CLOCK_SKEW"
