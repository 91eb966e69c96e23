"""The operator registry: in order, the same in every process, and bound to the message models."""

import os
import subprocess
import sys

import pytest

from lockstep import cbor, operators
from lockstep.digest import h, sha256
from lockstep.error_codes import ERROR_CODES

PRINT_ROOT = "from lockstep import operators; print(operators.root_hash().hex())"


def root_in_process(before: str = "", *, seed: str = "0") -> str:
    """The root of a fresh process that ran ``before`` first."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{before}\n{PRINT_ROOT}"],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def rows() -> list[dict]:
    return cbor.decode(operators.registry_bytes())


def test_the_registry_lists_the_five_operators_in_order() -> None:
    names = [(row["operator_id"], row["version"]) for row in rows()]
    assert names == sorted(names)
    assert [name for name, _ in names] == [
        "UML_OS.Deploy.EvaluateHealthGates_v1",
        "UML_OS.Deploy.ExecuteRollback_v1",
        "UML_OS.Deploy.ExecuteRollout_v1",
        "UML_OS.Deploy.PreflightChecks_v1",
        "UML_OS.Error.Emit_v1",
    ]


def test_each_row_is_closed_and_its_lists_are_in_order() -> None:
    for row in rows():
        assert set(row) == {
            *("operator_id", "version", "surface", "request_schema_digest"),
            *("response_schema_digest", "signature_digest", "side_effects"),
            *("allowed_error_codes", "purity_class", "required_capabilities", "idempotent"),
            "determinism_class",
        }
        assert row["side_effects"] == sorted(row["side_effects"])
        assert row["allowed_error_codes"] == sorted(ERROR_CODES)
        digests = [row["request_schema_digest"], row["response_schema_digest"]]
        assert row["signature_digest"] == h([row["operator_id"], *digests])


def test_only_the_gate_is_pure() -> None:
    pure = [row["operator_id"] for row in rows() if row["purity_class"] == "PURE"]
    assert pure == [operators.GATES]


def test_the_root_is_the_digest_of_the_registry_and_is_accepted() -> None:
    assert operators.root_hash() == sha256(operators.registry_bytes())
    assert operators.root_hash() in operators.accepted_roots()
    assert operators.accepted_roots() - {operators.root_hash()} == operators.EARLIER_ROOTS


def test_two_processes_with_other_hash_seeds_give_the_same_root() -> None:
    roots = {root_in_process(seed=seed) for seed in ("0", "1", "424242")}
    assert roots == {operators.root_hash().hex()}


CHANGED = """
from lockstep import messages as m
class {name}(m.{name}):
    {body}
m.{name} = {name}
"""


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("RolloutRequest", "canary_only: bool = False"),
        ("RolloutResult", "exit_code: str"),
        ("PreflightRequest", "dry_run: bool"),
        ("EvaluateRequest", "percent: int"),
        ("RollbackResult", "model_config = {'extra': 'ignore'}"),
    ],
    ids=["a new field", "another type", "no default", "no bounds", "open"],
)
def test_a_changed_message_gives_another_root(name: str, body: str) -> None:
    assert root_in_process(CHANGED.format(name=name, body=body)) != operators.root_hash().hex()


def test_the_very_same_message_written_again_gives_the_same_root() -> None:
    """What the test above changes is the message, not how it is swapped in."""
    again = CHANGED.format(name="RolloutRequest", body="pass")
    assert root_in_process(again) == operators.root_hash().hex()


def test_a_new_error_code_gives_another_root() -> None:
    added = (
        "from lockstep import error_codes as e\n"
        "e.ERROR_CODES['ZZ_NEW'] = e.ERROR_CODES['INTERNAL']\n"
    )
    assert root_in_process(added) != operators.root_hash().hex()
