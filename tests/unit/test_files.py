"""Files of people: found, read in each of their forms, and every error at its line."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from gate_samples import snapshot_map
from hypothesis import example, given
from hypothesis import strategies as st

from client.files import (
    load_yaml,
    parse_yaml,
    read_file,
    read_policy,
    read_profile,
    read_snapshot,
)
from client.settings_file import find_settings
from lockstep import cbor
from lockstep.errors import DataError, LockstepError
from lockstep.policy import resolve_policy

POLICY = """\
# a comment
schema_version: lockstep.policy.v1
service: web
gate:
  profile: strict-v1
"""


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as raised:
        read_policy(path)
    return raised.value


def test_a_pipe_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(DataError) as raised:
            read_file(path)
        assert raised.value.code == "DOCUMENT_INVALID"
        assert raised.value.place == str(path)


# ---- settings -------------------------------------------------------------------------------


def test_settings_are_sought_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as raised:
        find_settings(None, {})
    assert (raised.value.code, raised.value.hint) == ("CONTEXT_INVALID", "client dev up")

    (tmp_path / ".lockstep").mkdir()
    written(tmp_path, ".lockstep/lockstep.toml", "")
    assert find_settings(None, {}) == Path(".lockstep/lockstep.toml")
    written(tmp_path, "lockstep.toml", "")
    assert find_settings(None, {}) == Path("lockstep.toml")
    by_variable = written(tmp_path, "v.toml", "")
    assert find_settings(None, {"LOCKSTEP_CONFIG": str(by_variable)}) == by_variable
    explicit = written(tmp_path, "e.toml", "")
    assert find_settings(explicit, {"LOCKSTEP_CONFIG": str(by_variable)}) == explicit


def test_a_named_settings_file_that_is_absent_is_not_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "lockstep.toml", "")
    with pytest.raises(DataError, match=r"gone\.toml"):
        find_settings(Path("gone.toml"), {})


# ---- documents ------------------------------------------------------------------------------


def test_a_policy_reads_alike_from_yaml_json_and_cbor(tmp_path: Path) -> None:
    value = {
        "schema_version": "lockstep.policy.v1",
        "service": "web",
        "gate": {"profile": "strict-v1"},
    }
    policy = resolve_policy(value)
    forms = {
        "a.yaml": POLICY,
        "b.json": json.dumps(value),
        "c.cbor": cbor.encode(value),
        "resolved.cbor": policy.to_bytes(),
        "flow.yaml": "{schema_version: lockstep.policy.v1, service: web}",
    }
    for name, content in forms.items():
        assert read_policy(written(tmp_path, name, content)) == policy, name


def test_a_profile_reads_from_yaml(tmp_path: Path) -> None:
    text = """\
schema_version: lockstep.environment-profile.v1
environments:
  - name: prod
    targets: [{name: t, kind: demo, settings: {port: 8080, tls: true}}]
    sources: [{name: s, kind: file}]
"""
    profile = read_profile(written(tmp_path, "p.yaml", text))
    assert profile.environments[0].targets[0].settings == {"port": 8080, "tls": True}


def test_every_problem_stands_at_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "p.yaml", POLICY + "  error_rate_max: 0.1\nguards: [x]\n")
    error = refused(path)
    assert error.place == f"{path}:6"
    assert error.cause.splitlines() == [
        "gate.error_rate_max: strict-v1 fixes this at 0.005; leave it out",
        f"{path}:7: guards: is not built in this version; leave it empty",
    ]


def test_a_missing_field_stands_at_its_parent(tmp_path: Path) -> None:
    error = refused(written(tmp_path, "p.yaml", "\nschema_version: lockstep.policy.v1\n"))
    assert error.place.endswith("p.yaml:2")
    assert error.cause == "service: is required"


def test_json_that_yaml_would_refuse_is_still_read(tmp_path: Path) -> None:
    text = '{"schema_version":\t"lockstep.policy.v1",\n\t"service":\t"web"}'
    assert read_policy(written(tmp_path, "p.json", text)).service == "web"


def test_json_too_is_told_by_line(tmp_path: Path) -> None:
    text = '{\n "schema_version": "lockstep.policy.v1",\n "servce": "web"\n}'
    error = refused(written(tmp_path, "p.json", text))
    assert error.place.endswith("p.json:3")
    assert "did you mean 'service'" in error.cause


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("a: 1\na: 2\n", 2, "a: duplicate key"),
        ("x:\n  a: 1\n  b: 2\n  a: 3\n", 4, "x.a: duplicate key"),
        ('{"a": 1,\n "a": 2}', 2, "duplicate key"),
        ("a: &x [1]\nb: *x\n", 1, "anchors and aliases"),
        ("a: &x\n  b: *x\n", 1, "anchors and aliases"),
        ("a: !!python/object/apply:os.system [x]\n", 1, "tag"),
        ("a: 1\nb: !mine x\n", 2, "tag"),
        ("a: !!set {b}\n", 1, "tag"),
        ("a: !!binary aGk=\n", 1, "tag"),
        ("a: 1\nb: [1,\n", 3, "not YAML"),
        ("a: 1\n\tb: 2\n", 2, "not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "another document"),
        ("a: 010\n", 1, "plain decimal"),
        ("a: 0x10\n", 1, "plain decimal"),
        ("a: 1_000\n", 1, "plain decimal"),
        (f"a: {'9' * 40}\n", 1, "plain decimal"),
        ("%YAML 1.1\n---\na: yes\n", 3, "true or false"),
        ("? [a]\n: b\n", 1, "tag"),
        ("", 1, "an empty document"),
        ("# nothing\n", 1, "an empty document"),
        ("[" * 50 + "]" * 50, 1, "nested deeper"),
    ],
)
def test_yaml_that_is_not_plain_is_refused_at_its_line(
    text: str, line: int, cause: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "p.yaml", text)
    with pytest.raises(DataError) as raised:
        load_yaml(path)
    assert raised.value.code == "DOCUMENT_INVALID"
    assert raised.value.place == f"{path}:{line}"
    assert cause in raised.value.cause


def test_the_alias_bomb_is_refused_unexpanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(DataError, match="aliases"):
        parse_yaml("\n".join(lines).encode(), "bomb.yaml")


@pytest.mark.parametrize(
    "text", ["- " * 30_000, "? " * 30_000, "{" * 100_000, "[\n" * 100_000, "[]" * 100_000]
)
def test_deep_nesting_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(DataError):
        parse_yaml(text.encode(), "deep.yaml")


def test_values_are_those_of_yaml_1_2() -> None:
    value, lines = parse_yaml(
        b"a: on\nb: ~\nc: 2026-01-01\nd: [1, 2.5, true]\n'e': '7'\n8: x\n", "x"
    )
    assert value == {
        "a": "on",
        "b": None,
        "c": "2026-01-01",
        "d": [1, 2.5, True],
        "e": "7",
        "8": "x",
    }
    assert lines[("d", 1)] == 4
    assert lines[("8",)] == 6


@given(st.text(max_size=200))
@example("!!float x: y")
@example("a: !!int 1.5")
@example("a: !!null x")
@example("%TAG ! x\n--- !y")
@example("a: 1:30\nb: .inf\nc: 1e3")
def test_foreign_yaml_is_read_or_refused_and_nothing_worse(text: str) -> None:
    with suppress(DataError):
        parse_yaml(text.encode(), "x.yaml")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"\xa1", b"\xa1\x61a\x01\x00", b"\x00", b"{" * 10, b"{'a': 1}", b"[1]"]
)
def test_foreign_bytes_are_refused_with_the_file(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, "p", content)
    assert refused(path).place.startswith(str(path))


def test_a_file_is_never_read_beyond_its_limit(tmp_path: Path) -> None:
    path = written(tmp_path, "big.yaml", b"a" * 20)
    assert read_file(path, size_max_bytes=20) == b"a" * 20
    with pytest.raises(DataError, match="larger than 19 bytes"):
        read_file(path, size_max_bytes=19)


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    error = refused(tmp_path / name)
    assert error.code == "DOCUMENT_INVALID"
    assert "cannot be read" in error.cause


def test_a_snapshot_error_names_the_file(tmp_path: Path) -> None:
    def cause(content: Any) -> LockstepError:
        path = written(tmp_path, "s", content)
        with pytest.raises(LockstepError) as raised:
            read_snapshot(path)
        assert raised.value.place == str(path)
        return raised.value

    assert cause(cbor.encode({**snapshot_map(), "x": 1})).code == "SNAPSHOT_INVALID"
    assert cause(b"\xff").code == "CBOR_INVALID"
    assert cause(b"{").code == "DOCUMENT_INVALID"
