"""``client rollback SERVICE --env E``: the way back, any time, by one operator."""

import asyncio
from pathlib import Path

import click

from client.inputs import policy_of, policy_option, profile_of, profile_option
from client.output import emit, output_option
from lockstep.errors import DataError, Exit, LockstepError

SCHEMA_VERSION = "lockstep.rollback.v1"


@click.command()
@click.argument("service")
@click.option("--env", "environment", required=True, help="Where.")
@click.option("--to", metavar="RELEASE", help="A release_hash; else the last good release.")
@click.option("--reason", default="by an operator", show_default=True, help="Why; it is kept.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), help="Seconds to wait.")
@policy_option
@profile_option
@output_option
def rollback(
    service: str,
    environment: str,
    to: str | None,
    reason: str,
    timeout_s: float | None,
    policy_file: Path | None,
    profile_file: Path | None,
    output: str,
) -> int:
    """Send SERVICE back in one environment.

    A run of its own, allowed after commit and while a rollout is under way, which then finds
    itself fenced. Exit 0 once traffic is read back on the older release, 5 when it is not.
    """
    from client.context import Stored, load
    from client.inputs import environment_of, operator_key
    from client.releasing import release_name
    from client.rollback import Back, roll_back

    context = load()
    profile = profile_of(context, profile_file)
    policy = policy_of(context, policy_file)
    if policy.service != service:
        raise DataError("USAGE", f"the policy is for service {policy.service}, not {service}")
    target = release_name(to) if to is not None else None
    if to is not None and target is None:
        raise DataError("USAGE", f"--to {to[:80]}: not a release_hash", hint="sha256:<64 hex>")
    back = Back(
        context=context,
        policy=policy,
        profile=profile,
        spec=environment_of(profile, environment),
        service=service,
        to=target,
        reason=reason,
        starter=operator_key(context).key_id,
    )
    done = asyncio.run(roll_back(Stored(context), back, timeout_s=timeout_s))
    value = {
        "schema_version": SCHEMA_VERSION,
        "service": service,
        "environment": environment,
        **done,
    }
    emit(value, output, _text)
    if done["exit_code"] not in (Exit.DONE, Exit.WAIT_TIMED_OUT):
        from client.errors import text_of

        cause, hint = done["detail"] or done["status"], f"client target status {service}"
        error = LockstepError(done["code"] or "ROLLBACK_FAILED", cause, hint=hint)
        click.echo(text_of(error, output), err=True)
    return done["exit_code"]


def _text(value: dict) -> str:
    to = (value["to"] or "weight 0").removeprefix("sha256:")[:12]
    lines = [
        f"{value['service']} in {value['environment']}: {value['status']}, back to {to}",
        f"run {value['run_id']}",
    ]
    if value["detail"]:
        lines.append(value["detail"])
    if value["report"]:
        lines.append(f"rollback report {value['report']}")
    return "\n".join(lines)
