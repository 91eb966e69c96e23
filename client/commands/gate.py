"""``client gate evaluate``: judge frozen snapshots, with no server, store or network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client.output import emit, output_option
from lockstep.errors import Exit, LockstepError

if TYPE_CHECKING:
    from lockstep.gates.evaluate import GateReport
    from lockstep.policy import Policy

SCHEMA_VERSION = "lockstep.gate-results.v1"
ERROR_SCHEMA = "lockstep.gate-error.v1"
FILES_MAX = 100_000


@click.group()
def gate() -> None:
    """Judge frozen snapshots, offline."""


@gate.command("evaluate")
@click.option("--snapshot", type=click.Path(path_type=Path), help="One snapshot, JSON or CBOR.")
@click.option(
    "--snapshots",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of snapshots: one result a file, exit 0.",
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The policy, YAML, JSON or CBOR.",
)
@output_option
def evaluate(snapshot: Path | None, folder: Path | None, policy_file: Path, output: str) -> Exit:
    """Judge a snapshot by a policy: exit 0 PASS, 4 FAIL, 6 INCONCLUSIVE, 2 unreadable."""
    if (snapshot is None) == (folder is None):
        raise click.UsageError("give either --snapshot FILE or --snapshots DIR")
    from client.files import read_policy

    policy = read_policy(policy_file)
    if folder is not None:
        _evaluate_folder(folder, policy, output)
        return Exit.DONE
    assert snapshot is not None
    report = _judge(snapshot, policy)
    emit(report.to_json(), output, _table(report))
    return {"PASS": Exit.DONE, "FAIL": Exit.ROLLED_BACK}.get(report.outcome, Exit.HELD)


def _judge(path: Path, policy: "Policy") -> "GateReport":
    from client.files import read_snapshot
    from lockstep.gates.evaluate import evaluate_reading

    return evaluate_reading(read_snapshot(path), policy, policy.digest())


def _table(report: "GateReport") -> str:
    from lockstep.gates.explain import explain

    return "\n".join(explain(report))


def _evaluate_folder(folder: Path, policy: "Policy", output: str) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(paths) > FILES_MAX:
        raise LockstepError("USAGE", f"more than {FILES_MAX} files", place=str(folder))
    results = (_result(path, path.relative_to(folder).as_posix(), policy) for path in paths)
    if output in ("jsonl", "table"):  # as they come: a folder may be large
        for result in results:
            emit(result, output, _line)
    else:
        emit({"schema_version": SCHEMA_VERSION, "results": list(results)}, output)


def _result(path: Path, name: str, policy: "Policy") -> dict[str, Any]:
    try:
        return {"file": name, **_judge(path, policy).to_json()}
    except LockstepError as error:
        told = {"code": error.code, "cause": error.cause}
        return {"schema_version": ERROR_SCHEMA, "file": name, "error": told}


def _line(result: dict[str, Any]) -> str:
    if "error" in result:
        error = result["error"]
        return f"unreadable    {result['file']}  {error['code']}: {error['cause']}"
    broken = [f"{m['name']} {m['reason']}" for m in result["metrics"] if m["outcome"] != "PASS"]
    return f"{result['outcome']:<12}  {result['file']}  {', '.join(broken)}".rstrip()
