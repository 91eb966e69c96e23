"""``client start-rollout RELEASE``: the main job."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client.inputs import policy_option, profile_option
from client.output import emit, output_option, say
from lockstep.errors import DataError, Exit, LockstepError

if TYPE_CHECKING:
    from client.follow import Followed, Wait
    from client.rollouts import Prepared

STARTED_SCHEMA = "lockstep.rollout-started.v1"


@click.command("start-rollout")
@click.argument("release")
@policy_option
@profile_option
@click.option("--plan", "plan_only", is_flag=True, help="Print the resolved plan, touch nothing.")
@click.option("--dry-run", is_flag=True, help="Run preflight, print its report and stop.")
@click.option("--detach", is_flag=True, help="Start and return at once.")
@click.option("--until", metavar="STAGE", help="Wait until prod/25, prod or done has passed.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), help="Wait this many seconds at most."
)
@output_option
def start_rollout(
    release: str,
    policy_file: Path | None,
    profile_file: Path | None,
    plan_only: bool,
    dry_run: bool,
    detach: bool,
    until: str | None,
    timeout_s: float | None,
    output: str,
) -> int:
    """Carry RELEASE through every environment.

    RELEASE is a bundle (a folder or a .tar) or a release_hash in the store. Waits for the end and
    exits by it; Ctrl-C stops waiting, not the rollout. Starting the same release again under the
    same policy and profile attaches to the run under way, or prints how it ended.
    """
    from client.context import load
    from client.plan import plan_document, plan_text
    from client.rollouts import prepare

    prepared = prepare(load(), release, policy_file, profile_file)
    check_until(prepared, until)
    if plan_only:
        document = plan_document(prepared)
        emit(document, output, plan_text)
        return Exit.DONE
    from client.follow import Wait

    wait = Wait(until=until, timeout_s=timeout_s)
    return run(prepared, output, wait, dry_run=dry_run, detach=detach)


def check_until(prepared: "Prepared", until: str | None) -> None:
    """Refuse a stage that the plan does not have, before anything is begun.

    Raises:
        DataError: USAGE.
    """
    stages = ["done"]
    for one in prepared.plan:
        stages += [one.name, *(f"{one.name}/{percent}" for percent in one.cohorts)]
    if until is not None and until not in stages:
        raise DataError(
            "USAGE", f"--until {until}: the plan has no such stage", hint=", ".join(stages)
        )


def run(
    prepared: "Prepared", output: str, wait: "Wait", *, dry_run: bool = False, detach: bool = False
) -> int:
    """Upload, start or attach, follow, print; the exit code is the run's."""
    from client.ended import ended_run
    from client.run_status import exit_of_status

    known = None if dry_run else ended_run(prepared.stored, prepared.run_id)
    if known is not None:
        say(f"run {prepared.run_id} has ended already; nothing was started")
        return finish(known, exit_of_status(known), output)
    followed = asyncio.run(carry(prepared, wait, dry_run=dry_run, detach=detach))
    if followed is None:
        emit(_started(prepared), output, _started_text)
        return Exit.DONE
    if dry_run:
        return _print_preflight(prepared, followed, output)
    return finish(followed.document, followed.exit, output, followed)


async def carry(
    prepared: "Prepared", wait: "Wait", *, dry_run: bool = False, detach: bool = False
) -> "Followed | None":
    """Upload, start or attach, and follow; None when detached."""
    from client.context import reattach_with
    from client.follow import follow
    from client.render.show import open_show
    from client.rollouts import start, upload
    from client.server import CONNECT_MAX_S
    from workflows.connection import connect

    context = prepared.context
    # The server is asked first: an upload that no run follows helps nobody.
    client = await connect(context.temporal_address, context.namespace, timeout_s=CONNECT_MAX_S)
    await asyncio.to_thread(upload, prepared)
    workflow_id = await start(client, prepared, dry_run=dry_run)
    if detach:
        return None
    if not dry_run:
        reattach_with(f"client watch {prepared.run_id}")
        say(f"run {prepared.run_id}")
    return await follow(client, context, prepared.run_id, workflow_id, wait, open_show())


def finish(
    document: dict[str, Any], exit_code: int, output: str, followed: "Followed | None" = None
) -> int:
    """Print how a run stands at the end of a wait, say why it is no success, return its code."""
    from client.render.tree import end_text

    failures = followed.result.failures if followed and followed.result else ()
    value = {
        **document,
        "exit_code": int(exit_code),
        "failures": [one.model_dump(mode="json") for one in failures],
    }
    emit(value, output, lambda shown: end_text(shown) + _failures_text(shown["failures"]))
    tell_end(document, exit_code, output)
    return exit_code


def tell_end(document: dict[str, Any], exit_code: int, output: str) -> None:
    """One error on stderr for a run that did not come through."""
    from client.errors import text_of
    from lockstep.error_codes import ERROR_CODES

    run_id = document.get("run_id", "")
    if exit_code == Exit.WAIT_TIMED_OUT:
        say(f"time is up, the rollout goes on; re-attach with: client watch {run_id}")
    elif exit_code == Exit.HELD:
        say(f"waits for a person: client resume {run_id} --reason …, or client abort …")
    elif exit_code != Exit.DONE:
        code, cause = document.get("code", ""), document.get("cause") or document.get("status", "")
        if code not in ERROR_CODES:  # a gate's reason, such as THRESHOLD_BREACHED
            code, cause = "GATE_FAILED", f"{code}: {cause}" if code else cause
        error = LockstepError(code, cause, hint=f"client report {run_id}")
        click.echo(text_of(error, output), err=True)


def _failures_text(failures: list[dict[str, Any]]) -> str:
    if not failures:
        return ""
    lines = [
        f"{one['name']} {one['environment']}: {one['code']}: {one['detail']}" for one in failures
    ]
    return "\n\npreflight refused:\n" + "\n".join(lines)


def _started(prepared: "Prepared") -> dict[str, Any]:
    from client.rollouts import workflow_id_of
    from client.server import ui_url
    from lockstep.digest import to_text

    workflow_id = workflow_id_of(prepared, dry_run=False)
    return {
        "schema_version": STARTED_SCHEMA,
        "run_id": prepared.run_id,
        "workflow_id": workflow_id,
        "service": prepared.service,
        "release_hash": to_text(prepared.release_hash),
        "ui_url": ui_url(prepared.context, workflow_id),
    }


def _started_text(value: dict[str, Any]) -> str:
    page = f"\nTemporal UI: {value['ui_url']}" if value["ui_url"] else ""
    return f"run {value['run_id']} goes on; watch it with: client watch {value['run_id']}{page}"


def _print_preflight(prepared: "Prepared", followed: "Followed", output: str) -> int:
    """The preflight report itself, as stored."""
    from client.output import columns
    from lockstep import cbor
    from lockstep.digest import from_text
    from lockstep.record import to_json_value

    digest = (followed.result.reports if followed.result else {}).get("preflight_report")
    if digest is None:
        return finish(followed.document, followed.exit, output, followed)
    report = to_json_value(cbor.decode(prepared.stored.cas.get(from_text(digest))))
    rows = [
        (
            one["name"],
            one.get("environment") or "",
            one["outcome"],
            one.get("code") or "",
            one["detail"],
        )
        for one in report["checks"]
    ]
    head = ("CHECK", "ENVIRONMENT", "OUTCOME", "CODE", "DETAIL")
    value = {**report, "digest": digest, "exit_code": followed.exit}
    emit(value, output, columns(rows, head))
    tell_end(followed.document, followed.exit, output)
    return followed.exit
