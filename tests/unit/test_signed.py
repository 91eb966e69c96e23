"""Signed records: the type is the domain separator, and only its purpose's keys may sign it."""

import pytest

from lockstep import cbor
from lockstep.errors import DataError
from lockstep.trust import ed25519
from lockstep.trust.signed import PURPOSE_OF_TYPE, open_signed, read_signed, sign
from tests import release_world as world

PAYLOAD = {"type": "adoption", "tenant_id": "acme", "weight": 100}


def code_of(call) -> str:
    with pytest.raises(DataError) as refused:
        call()
    return refused.value.code


def test_what_was_signed_opens_to_the_same_payload() -> None:
    data = sign(PAYLOAD, *world.OPERATOR.pair)
    assert open_signed(data, world.OPERATOR.descriptor, "adoption") == PAYLOAD
    assert set(cbor.decode(data)) == {"signed_payload", "key_id", "signature"}
    assert read_signed(data).key_id == world.OPERATOR.key_id


def test_the_signature_is_over_the_canonical_payload_and_nothing_else() -> None:
    record = read_signed(sign(PAYLOAD, *world.OPERATOR.pair))
    public_key = world.OPERATOR.descriptor.public_key
    ed25519.verify(public_key, cbor.encode(PAYLOAD), record.signature)


@pytest.mark.parametrize("kind", sorted(PURPOSE_OF_TYPE))
def test_only_a_key_of_the_types_purpose_signs_it(kind: str) -> None:
    payload = {"type": kind}
    for key in world.ALL_KEYS:
        if key.descriptor.purpose == PURPOSE_OF_TYPE[kind]:
            data = sign(payload, *key.pair)
            assert open_signed(data, key.descriptor, kind) == payload
        else:
            assert code_of(lambda key=key: sign(payload, *key.pair)) == "SIGNATURE_REFUSED"


def test_a_record_forged_around_the_purpose_check_does_not_open() -> None:
    payload = {"type": "approval"}
    forged = cbor.encode(
        {
            "signed_payload": payload,
            "key_id": world.OPERATOR.key_id,
            "signature": ed25519.sign(world.OPERATOR.private_key, cbor.encode(payload)),
        }
    )
    opened = lambda: open_signed(forged, world.OPERATOR.descriptor, "approval")  # noqa: E731
    assert code_of(opened) == "SIGNATURE_REFUSED"


@pytest.mark.parametrize("payload", [{}, {"type": 7}, {"type": "trust-root"}, {"type": "invented"}])
def test_a_payload_without_a_known_type_is_never_signed(payload: dict) -> None:
    assert code_of(lambda: sign(payload, *world.OPERATOR.pair)) == "SIGNATURE_REFUSED"


def test_one_type_never_passes_for_another() -> None:
    data = sign(PAYLOAD, *world.OPERATOR.pair)
    opened = lambda: open_signed(data, world.OPERATOR.descriptor, "operator-action")  # noqa: E731
    assert code_of(opened) == "SIGNATURE_REFUSED"


def test_a_changed_payload_signature_or_key_is_refused() -> None:
    record = cbor.decode(sign(PAYLOAD, *world.OPERATOR.pair))
    other = world.key("operator", 1)
    flipped = bytes([record["signature"][0] ^ 1]) + record["signature"][1:]
    for changes, key in (
        ({"signed_payload": {**PAYLOAD, "weight": 50}}, world.OPERATOR),
        ({"signature": flipped}, world.OPERATOR),
        ({"key_id": other.key_id}, world.OPERATOR),
        ({"key_id": other.key_id}, other),
    ):
        data = cbor.encode({**record, **changes})
        opened = lambda data=data, key=key: open_signed(data, key.descriptor, "adoption")  # noqa: E731
        assert code_of(opened) == "SIGNATURE_REFUSED"


def test_the_outer_form_is_closed() -> None:
    record = cbor.decode(sign(PAYLOAD, *world.OPERATOR.pair))
    for changed in (
        {**record, "note": "extra"},
        {key: value for key, value in record.items() if key != "key_id"},
        {**record, "signature": record["signature"][:63]},
    ):
        assert (
            code_of(lambda changed=changed: read_signed(cbor.encode(changed))) == "RECORD_INVALID"
        )


def test_a_private_half_of_another_key_is_refused() -> None:
    wrong = world.key("operator", 1).private_key
    assert code_of(lambda: sign(PAYLOAD, world.OPERATOR.descriptor, wrong)) == "KEY_REFUSED"
