"""What commands print: four forms of the same value, and errors beside it."""

import json

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel
from ruamel.yaml import YAML

from client import errors
from client.output import columns, dumps, emit, output_option
from lockstep.errors import DataError, LockstepError

VALUE = {"schema_version": "x.v1", "digest": bytes(32), "key": b"\x01", "rows": [1, "zwei"]}
TWIN = {
    "schema_version": "x.v1",
    "digest": "sha256:" + "00" * 32,
    "key": "01",
    "rows": [1, "zwei"],
}


@click.command()
@output_option
def shown(output: str) -> None:
    emit(VALUE, output)


@pytest.mark.parametrize("words", [["--json"], ["--output", "json"], ["--output=json"]])
def test_json_is_one_object_and_bytes_are_their_twins(words: list[str]) -> None:
    assert json.loads(CliRunner().invoke(shown, words).stdout) == TWIN


def test_yaml_and_jsonl_hold_the_same_value() -> None:
    assert YAML(typ="safe").load(CliRunner().invoke(shown, ["--output", "yaml"]).stdout) == TWIN
    lines = CliRunner().invoke(shown, ["--output", "jsonl"]).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [TWIN]


def test_yaml_never_folds_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"cause": "word " * 60 + "end"}, "yaml")
    assert capsys.readouterr().out.count("\n") == 1


def test_the_last_form_named_wins() -> None:
    assert CliRunner().invoke(shown, ["--json", "--output", "jsonl"]).stdout.count("\n") == 1


def test_a_list_is_one_line_an_item_in_jsonl(capsys: pytest.CaptureFixture[str]) -> None:
    emit(({"n": n} for n in range(3)), "jsonl")
    assert capsys.readouterr().out == '{"n": 0}\n{"n": 1}\n{"n": 2}\n'


def test_people_see_the_text_they_are_given_or_key_and_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    emit(VALUE, "table", "as given")
    emit(VALUE, "table", lambda value: f"of {value['rows']}")
    emit({"schema_version": "x.v1", "a": 1, "bcd": "e"}, "table")
    emit(VALUE, "table", lambda value: None)
    assert capsys.readouterr().out == "as given\nof [1, 'zwei']\na    1\nbcd  e\n"


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps({"x": float("nan")})
    with pytest.raises(TypeError, match="object has no JSON form"):
        dumps({"x": object()})


def test_models_and_tuples_are_written_as_maps_and_lists() -> None:
    class Row(BaseModel):
        a: int
        b: str | None = None

    assert json.loads(dumps({"rows": (Row(a=1), Row(a=2, b="c"))})) == {
        "rows": [{"a": 1}, {"a": 2, "b": "c"}]
    }


def test_columns_are_padded_but_never_at_the_end_of_a_line() -> None:
    assert columns([("a", "bc"), ("def", "g")], ("X", "YY")) == "X    YY\na    bc\ndef  g"


# ---- errors --------------------------------------------------------------------------------


def test_an_error_object_has_everything_a_program_needs() -> None:
    error = DataError("DOCUMENT_INVALID", "it is broken", place="a.yaml:3", hint="mend it")
    assert json.loads(errors.text_of(error, "json")) == {
        "schema_version": "lockstep.error.v1",
        "code": "DOCUMENT_INVALID",
        "numeric_code": 2001,
        "cause": "it is broken",
        "place": "a.yaml:3",
        "next": "mend it",
        "docs": "errors.md#document-invalid",
        "retryable": False,
    }


def test_without_a_hint_the_codes_own_remedy_is_told() -> None:
    told = errors.text_of(LockstepError("KEY_REVOKED", "gone")).splitlines()
    assert told == [
        "error KEY_REVOKED: gone",
        "next: Certify with a key in force.",
        "docs: errors.md#key-revoked",
    ]


def test_an_unexpected_exception_is_one_line_without_its_second() -> None:
    error = errors.internal(ValueError("first\nsecond"))
    assert error.code == "INTERNAL"
    assert error.cause == "ValueError: first"
