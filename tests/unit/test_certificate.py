"""ExecutionCertificates: closed field sets, signed bytes, the nine (docs/spec/bytes.md §5)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep import cbor
from lockstep.digest import sha256
from lockstep.errors import DataError
from lockstep.hashes import deps_lock_v1
from lockstep.trust import certificate, ed25519

SEED = bytes(range(32))
KEY = ed25519.public_of(SEED)


def sample(name: str, number: int) -> Any:
    """A value of the right type for a field, told by the project's own naming."""
    fixed = {
        "signature_algorithm": "ed25519",
        "step_start": 0,
        "step_end": 3,
        "dp_epsilon": 0.5,
        "dp_delta": 0.0,
        "verification_time_utc": "2026-01-02T03:04:05Z",
        "valid_until_utc": "2026-02-02T03:04:05Z",
        "determinism_conformance_suite_id": bytes([200]) * 32,
    }
    if name in fixed:
        return fixed[name]
    if name.endswith(("_hash", "_token")):
        return bytes([number]) * 32
    return f"{name}-value"


def payload(version: str, *, whole: bool = False, **changes: Any) -> dict[str, Any]:
    names = list(certificate.REQUIRED[version])
    if whole:
        names += certificate.OPTIONAL[version]
    fields = {name: sample(name, number) for number, name in enumerate(names, start=1)}
    return {**fields, "certificate_version": version, **changes}


def signed(value: dict[str, Any], **other: Any) -> bytes:
    """The stored map with a good signature, without the writer's own checks."""
    signature = ed25519.sign(SEED, cbor.encode(value))
    return cbor.encode({"signed_payload": value, "signature": signature, **other})


def refused(data: bytes, *, field: str | None = None, key: bytes = KEY) -> DataError:
    with pytest.raises(DataError) as caught:
        certificate.open_certificate(data, key)
    if field is not None:
        assert caught.value.code == "CERTIFICATE_INVALID"
        assert caught.value.place == field
    return caught.value


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("whole", [False, True], ids=["required", "with every optional field"])
def test_a_complete_certificate_opens_and_is_named_by_its_stored_bytes(
    version: str, whole: bool
) -> None:
    data = signed(payload(version, whole=whole))
    opened, name = certificate.open_certificate(data, KEY)
    assert opened == payload(version, whole=whole)
    assert name == sha256(data)


def test_what_we_issue_opens_and_holds_no_unsigned_metadata() -> None:
    data = certificate.sign_certificate(payload("2"), SEED)
    assert certificate.open_certificate(data, KEY) == (payload("2"), sha256(data))
    assert set(cbor.decode(data)) == {"signed_payload", "signature"}
    assert data == certificate.sign_certificate(payload("2"), SEED)


def test_version_one_is_never_issued() -> None:
    with pytest.raises(DataError) as caught:
        certificate.sign_certificate(payload("1"), SEED)
    assert caught.value.place == "certificate_version"


def test_the_field_sets_are_those_of_the_specification() -> None:
    one, two = set(certificate.REQUIRED["1"]), set(certificate.REQUIRED["2"])
    model = {
        *("backend_binary_hash", "ir_hash", "sampler_config_hash", "data_access_plan_hash"),
        *("tmmu_plan_hash", "dataset_snapshot_id"),
    }
    new = {
        *("runtime_env_hash", "verification_time_utc", "valid_until_utc", "signature_algorithm"),
        "sbom_hash",
    }
    assert (len(one), len(two)) == (27, 26)
    assert one - two == model
    assert two - one == new
    assert model <= set(certificate.OPTIONAL["2"])
    assert not {"runtime_env_hash", "sbom_hash"} & set(certificate.OPTIONAL["1"])
    for version in ("1", "2"):
        assert not set(certificate.REQUIRED[version]) & set(certificate.OPTIONAL[version])
    assert set(certificate.NINE) <= one & two


@pytest.mark.parametrize("version", ["1", "2"])
def test_each_missing_field_is_refused_by_name(version: str) -> None:
    for name in certificate.REQUIRED[version]:
        short = payload(version)
        del short[name]
        refused(signed(short), field=name)


@pytest.mark.parametrize("version", ["1", "2"])
def test_each_wrongly_typed_field_is_refused_by_name(version: str) -> None:
    whole = payload(version, whole=True)
    for name, good in whole.items():
        wrong: list[Any] = [None, [good], {}]
        if type(good) is bytes:
            wrong += [good.hex(), good[:31], good + b"\x00", b""]
        elif type(good) is str:
            wrong += [good.encode(), 1]
        elif type(good) is int:
            wrong += [-1, True, float(good), str(good)]
        else:
            wrong += [1, "0.5", True]
        for value in wrong:
            refused(signed({**whole, name: value}), field=name)


def test_an_extra_field_is_refused_by_name() -> None:
    for version in ("1", "2"):
        refused(signed(payload(version, release_hash=bytes(32))), field="release_hash")
    for name in ("sbom_hash", "runtime_env_hash"):
        refused(signed(payload("1", **{name: bytes(32)})), field=name)


def test_an_unknown_version_is_refused() -> None:
    for version in ("0", "3", "", 2, None, ["2"], {}):
        changed = {**payload("2"), "certificate_version": version}
        refused(signed(changed), field="certificate_version")


def test_steps_may_be_equal_but_not_reversed() -> None:
    certificate.open_certificate(signed(payload("2", step_start=3, step_end=3)), KEY)
    refused(signed(payload("2", step_start=4, step_end=3)), field="step_start")


@pytest.mark.parametrize(
    "time",
    ["2026-01-02", "2026-01-02T03:04:05", "2026-13-01T00:00:00Z", "2026-01-02T03:04:05.0Z", ""],
)
def test_a_time_has_one_form_and_names_a_second_of_the_calendar(time: str) -> None:
    refused(signed(payload("2", valid_until_utc=time)), field="valid_until_utc")


def test_only_the_one_algorithm_is_named() -> None:
    for algorithm in ("Ed25519", "rsa", ""):
        refused(signed(payload("2", signature_algorithm=algorithm)), field="signature_algorithm")


def test_the_outer_map_is_closed() -> None:
    good = cbor.decode(signed(payload("2")))
    for name in ("signed_payload", "signature"):
        rest = {key: value for key, value in good.items() if key != name}
        refused(cbor.encode(rest), field=name)
    refused(cbor.encode({**good, "hash": b""}), field="hash")
    refused(cbor.encode({**good, "signature": good["signature"][:63]}), field="signature")
    refused(cbor.encode({**good, "unsigned_metadata": 1}), field="unsigned_metadata")
    refused(cbor.encode({**good, "signed_payload": []}), field="signed_payload")
    for other in ([good], None, b"", "certificate"):
        assert refused(cbor.encode(other)).code == "CERTIFICATE_INVALID"


def test_unsigned_metadata_is_allowed_and_changes_only_the_name() -> None:
    plain, noted = signed(payload("2")), signed(payload("2"), unsigned_metadata={"note": 1})
    (first, name), (second, other) = (certificate.open_certificate(c, KEY) for c in (plain, noted))
    assert first == second
    assert name != other


def test_another_key_or_changed_bytes_do_not_verify() -> None:
    other = ed25519.public_of(bytes(32))
    assert refused(signed(payload("2")), key=other).code == "SIGNATURE_REFUSED"
    value = cbor.decode(signed(payload("2")))
    value["signed_payload"]["manifest_hash"] = bytes(32)
    assert refused(cbor.encode(value)).code == "SIGNATURE_REFUSED"
    assert refused(signed(payload("2")), key=b"\x01" + bytes(31)).code == "KEY_REFUSED"


def test_reading_without_a_key_judges_the_form_only() -> None:
    value = cbor.decode(signed(payload("2")))
    forged = cbor.encode({**value, "signature": bytes(64)})
    assert certificate.read_certificate(forged) == (payload("2"), bytes(64))
    assert refused(forged).code == "SIGNATURE_REFUSED"


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_flipped_bit_of_a_certificate_is_refused(data: st.DataObject) -> None:
    raw = bytearray(signed(payload("2")))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    refused(bytes(raw))


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60))
def test_foreign_bytes_are_refused_without_a_crash(raw: bytes) -> None:
    assert refused(raw).code == "CERTIFICATE_INVALID"


# ---- the nine ------------------------------------------------------------------------------

TOOLS = {"toolchain_hash": bytes([100]) * 32, "runtime_env_hash": bytes([101]) * 32}


def expected() -> dict[str, bytes]:
    nine = {name: payload("2")[name] for name in certificate.NINE}
    lock = deps_lock_v1(nine["lockfile_hash"], *TOOLS.values())
    return {**nine, **TOOLS, "dependencies_lock_hash": lock}


def bound(**changes: Any) -> dict[str, Any]:
    return {
        **payload("2"),
        "dependencies_lock_hash": expected()["dependencies_lock_hash"],
    } | changes


def test_nothing_differs_when_all_nine_are_true() -> None:
    assert certificate.promotion_mismatches(bound(), expected()) == []


@pytest.mark.parametrize("name", certificate.NINE)
def test_each_of_the_nine_is_named_when_it_differs_or_is_absent(name: str) -> None:
    assert certificate.promotion_mismatches(bound(**{name: bytes(32)}), expected()) == [name]
    rest = {key: value for key, value in bound().items() if key != name}
    assert certificate.promotion_mismatches(rest, expected()) == [name]


def test_differences_come_in_the_order_of_the_specification() -> None:
    assert certificate.promotion_mismatches({}, expected()) == list(certificate.NINE)


def test_the_dependency_lock_is_recomputed_and_never_taken() -> None:
    wrong = {"dependencies_lock_hash": bytes(32)}
    agreed = certificate.promotion_mismatches(bound(**wrong), {**expected(), **wrong})
    assert agreed == ["dependencies_lock_hash"]
    assert certificate.promotion_mismatches(bound(), {**expected(), **wrong}) == []
    for name in TOOLS:
        other = {**expected(), name: bytes(32)}
        assert certificate.promotion_mismatches(bound(), other) == ["dependencies_lock_hash"]


def test_an_expectation_that_is_no_digest_is_an_error_not_a_difference() -> None:
    for name in ("manifest_hash", "toolchain_hash", "runtime_env_hash"):
        for bad in (None, "00" * 32, bytes(31)):
            with pytest.raises(DataError):
                certificate.promotion_mismatches(bound(), {**expected(), name: bad})
