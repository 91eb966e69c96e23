"""References to private keys: resolved where they may be, and never told to anybody."""

import json
import os
import stat
from pathlib import Path

import pytest

from activities.adapters.secrets import (
    SigningKey,
    is_reference,
    key_file_text,
    parse_key_file,
    resolve_key,
    write_key_file,
)
from lockstep.errors import LockstepError
from tests import release_world as world

KEY = SigningKey(*world.APPROVER.pair)
SECRET = KEY.private_key.hex()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "approval.key.json"
    write_key_file(path, KEY)
    return path


def refused(reference: str, code: str = "SECRET_UNRESOLVED", **facts) -> LockstepError:
    with pytest.raises(LockstepError) as error:
        resolve_key(reference, **{"development": True, **facts})
    assert error.value.code == code
    assert SECRET not in f"{error.value} {error.value.hint} {error.value.place}"
    return error.value


def test_a_key_file_is_its_owners_alone_and_never_replaced(key_file: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    before = key_file.read_bytes()
    with pytest.raises(LockstepError, match="not replaced"):
        write_key_file(key_file, SigningKey(*world.SECOND_APPROVER.pair))
    assert key_file.read_bytes() == before


def test_file_and_environment_references_give_the_same_key(key_file: Path) -> None:
    by_file = resolve_key(f"file:{key_file}", development=True, purpose="approval")
    environ = {"APPROVAL_KEY": key_file.read_text()}
    by_name = resolve_key("env:APPROVAL_KEY", development=True, environ=environ)
    assert by_file == by_name == KEY


def test_the_private_half_is_in_no_representation(key_file: Path) -> None:
    key = resolve_key(f"file:{key_file}", development=True)
    assert SECRET not in repr(key)
    assert repr(key.private_key) not in repr(key)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_file_that_others_can_read_is_refused(key_file: Path, mode: int) -> None:
    os.chmod(key_file, mode)
    assert "only its owner" in refused(f"file:{key_file}").cause


def test_references_outside_a_development_context_are_refused(key_file: Path) -> None:
    for reference in (f"file:{key_file}", "env:APPROVAL_KEY"):
        assert "development" in refused(reference, development=False).cause


@pytest.mark.parametrize(
    "reference",
    ["", "file:", "approval.key.json", "https://x", "aws-kms:key", "vault:a/b", "env:UNSET"],
)
def test_what_cannot_be_resolved_says_why(reference: str) -> None:
    assert refused(reference, environ={}).cause


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    refused(f"file:{tmp_path / 'none'}")
    refused(f"file:{tmp_path}")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "only its owner" in refused(f"file:{tmp_path / 'pipe'}").cause


@pytest.mark.parametrize("text", ["file:a", "env:A", "vault:a/b"])
def test_what_has_the_form_of_a_reference_is_one(text: str) -> None:
    assert is_reference(text)
    assert not is_reference(text.partition(":")[2])
    assert not is_reference(text.partition(":")[0] + ":")


def test_a_key_of_another_purpose_is_refused(key_file: Path) -> None:
    refused(f"file:{key_file}", "KEY_REFUSED", purpose="release-certificate")


def test_two_halves_that_do_not_belong_together_are_refused() -> None:
    document = json.loads(key_file_text(KEY))
    other = world.SECOND_APPROVER
    for changes in (
        {"private_key": other.private_key.hex()},
        {"private_key": SECRET[:-2]},
        {"private_key": 7},
        {"schema_version": "lockstep.key-file.v2"},
        {"descriptor": {**document["descriptor"], "key_id": other.key_id}},
        {"descriptor": {**document["descriptor"], "public_key": "zz"}},
        {"descriptor": None},
        {"extra": 1},
    ):
        with pytest.raises(LockstepError) as error:
            parse_key_file(json.dumps({**document, **changes}), place="k")
        assert error.value.code == "KEY_REFUSED"
        assert SECRET not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{", '{"private_key": "' + SECRET + '"'])
def test_text_that_is_no_key_file_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(LockstepError) as error:
        parse_key_file(text, place="k")
    assert error.value.code == "KEY_REFUSED"
    assert SECRET not in str(error.value)
