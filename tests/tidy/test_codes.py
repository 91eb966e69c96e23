"""Every code that the product can say is registered, and each registry is in order.

Two registries: error codes (``lockstep.error_codes``, with numbers and exit codes) and the reason
codes of gates (``lockstep.gates.reasons``). Nobody invents a code at the place of its use.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from lockstep.error_codes import _TABLE, ERROR_CODES, exit_of
from lockstep.errors import Exit
from lockstep.gates.reasons import Reason
from tests.tidy.sources import Module, calls, constant, keyword, module_of, modules

NUMBERS = range(2000, 2100)
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
LOOKS_LIKE_A_CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
NO_CODES = {
    "CERT_SIGNED": "a record of the log",
    "CERTIFY_OPERATOR": "a name that a module exports",
}
REASONS = {reason.value for reason in Reason}

TAKES_A_CODE_FIRST = ("LockstepError", "DataError", "RefusedError", "UnavailableError")
WORKFLOWS_OWN = ("StepFailed", "Stopped")
CODE_KEYWORDS = ("code", "reason_code")


def said_codes(module: Module) -> Iterator[tuple[int, str]]:
    """Codes written as a text where an error or an answer is made."""
    for name, call in calls(module.tree):
        made = name.rsplit(".", 1)[-1]
        given = [keyword(call, word) for word in CODE_KEYWORDS]
        if made in TAKES_A_CODE_FIRST + WORKFLOWS_OWN and call.args:
            given.append(call.args[0])
        for node in given:
            yield from ((call.lineno, text) for text in _texts(node) if text)


def _texts(node: ast.expr | None) -> list[str]:
    """The text of a constant; of ``a or "B"`` and ``"A" if c else "B"``, each that may come."""
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in _texts(value)]
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    text = constant(node)
    return [] if text is None else [text]


def test_every_code_that_is_said_is_registered() -> None:
    """A gate's answer may also carry the gate's reason."""
    found = [
        f"{module.path}:{line} {code}"
        for module in modules()
        for line, code in said_codes(module)
        if code not in ERROR_CODES and code not in REASONS
    ]
    assert found == []


def test_an_error_is_never_made_with_a_reason_that_is_no_error_code() -> None:
    found = [
        f"{module.path}:{call.lineno} {text}"
        for module in modules()
        for name, call in calls(module.tree)
        if name.rsplit(".", 1)[-1] in TAKES_A_CODE_FIRST and call.args
        for text in _texts(call.args[0])
        if text not in ERROR_CODES
    ]
    assert found == []


def test_many_places_say_codes() -> None:
    """The check above would pass over nothing, too."""
    said = {code for module in modules() for _, code in said_codes(module)}
    assert len(said) > 40


def test_nothing_that_looks_like_a_code_is_unknown() -> None:
    """Also where a function of ours takes the code: ``same("EQUALITY_FAILED", …)``."""
    found = [
        f"{module.path}:{node.lineno} {text}"
        for module in modules("lockstep", "workflows", "activities")
        for node in ast.walk(module.tree)
        if (text := constant(node)) and LOOKS_LIKE_A_CODE.fullmatch(text)
        if text not in {*ERROR_CODES, *REASONS, *NO_CODES} and not text.startswith("LOCKSTEP_")
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ('raise DataError("NEW", "why")', ["NEW"]),
        ('raise errors.RefusedError("NEW", "why")', ["NEW"]),
        ('DocumentError(problems, code="NEW")', ["NEW"]),
        ('CheckResult(name="x", code=bad.code or "NEW")', ["NEW"]),
        ('StepFailed("A" if x else "B", cause)', ["A", "B"]),
        ('CheckResult(name="x", code="")', []),
        ("DataError(code, cause)", []),
    ],
)
def test_a_code_is_found_wherever_it_is_said(text: str, codes: list[str]) -> None:
    assert [code for _, code in said_codes(module_of(text))] == codes


def test_error_codes_are_unique_within_their_range_and_in_order() -> None:
    numbers = [row.numeric_code for row in _TABLE]
    assert numbers == sorted(set(numbers))
    assert all(number in NUMBERS for number in numbers)
    assert len(ERROR_CODES) == len(_TABLE)


def test_every_error_code_says_what_happened_and_what_to_do() -> None:
    for row in ERROR_CODES.values():
        assert CODE.fullmatch(row.code_id), row.code_id
        assert row.message.endswith("."), row.code_id
        assert row.remediation.endswith("."), row.code_id
        assert row.docs_anchor == f"errors.md#{row.code_id.lower().replace('_', '-')}"


def test_a_registered_code_has_its_exit_and_an_unregistered_one_is_a_defect() -> None:
    assert exit_of("STORE_UNREACHABLE") is Exit.UNREACHABLE
    assert exit_of("NEVER_REGISTERED") is Exit.INTERNAL


def test_an_error_that_exits_as_done_is_none() -> None:
    assert [row.code_id for row in ERROR_CODES.values() if row.exit is Exit.DONE] == []


def test_reasons_of_gates_are_written_in_one_place() -> None:
    """A code that only gates know is a text in ``lockstep.gates.reasons`` and nowhere else."""
    own = REASONS - set(ERROR_CODES)
    found = [
        f"{module.path}:{node.lineno} {node.value}"
        for module in modules("lockstep")
        if module.path != "lockstep/gates/reasons.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in own
    ]
    assert found == []


def test_each_reason_is_written_as_it_is_named() -> None:
    assert [reason for reason in Reason if reason.value != reason.name] == []
