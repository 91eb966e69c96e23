"""``client adopt SERVICE --env E``: what runs now becomes what a rollout goes back to."""

from pathlib import Path

import click

from client.inputs import policy_of, policy_option, profile_of, profile_option
from client.output import emit, output_option
from lockstep.errors import Exit

SCHEMA_VERSION = "lockstep.adoption.v1"


@click.command()
@click.argument("service")
@click.option("--env", "environment", required=True, help="The environment to adopt in.")
@policy_option
@profile_option
@output_option
def adopt(
    service: str,
    environment: str,
    policy_file: Path | None,
    profile_file: Path | None,
    output: str,
) -> int:
    """Record what runs now as a signed adoption.

    It counts as committed, for comparison and as what a rollback goes back to, and stays marked
    unproven. Needs only store and target. Adopting the same thing again changes nothing.
    """
    from client.context import load

    context = load()
    profile = profile_of(context, profile_file)
    policy = policy_of(context, policy_file)
    value = adopt_service(context, service, environment, policy, profile)
    word = "adopted" if value["changed"] else "known already"
    emit(value, output, f"{environment}: {service} {value['release_hash']} {word}")
    return Exit.DONE


def adopt_service(context, service: str, environment: str, policy, profile) -> dict:
    """Adopt and describe it; the same call serves ``client demo``.

    Raises:
        DataError: USAGE; the policy is another service's, or the profile lacks the environment.
        LockstepError: as ``client.adoption.adopt``, or the operator may not.
    """
    from activities.adapters.targets import open_target
    from client.adoption import Subject
    from client.adoption import adopt as adopt_instance
    from client.context import Stored
    from client.inputs import environment_of, operator_key, require_capability
    from client.releasing import store_time
    from lockstep import hashes
    from lockstep.digest import to_text
    from lockstep.errors import DataError

    if policy.service != service:
        raise DataError(
            "USAGE",
            f"the policy is for service {policy.service}, not {service[:80]!r}",
            hint="name the policy's service, or pass --policy FILE",
        )
    spec = environment_of(profile, environment)
    stored = Stored(context)
    key = operator_key(context)
    require_capability(context, stored, key, "adopt", store_time(stored))
    token = hashes.replay_token(policy.digest(), profile.digest())
    subject = Subject(service=service, spec=spec, key=key, replay_token=token)
    target = open_target(spec.targets[0].kind, spec.targets[0].settings)
    done = adopt_instance(stored, target, subject)
    return {
        "schema_version": SCHEMA_VERSION,
        "service": service,
        "environment": environment,
        "target": spec.targets[0].name,
        "instance": done.instance.release,
        "release_hash": to_text(done.release_hash),
        "record": to_text(done.record_digest) if done.record_digest else None,
        "artifacts": dict(done.instance.artifacts),
        "configs": dict(done.instance.configs),
        "epoch": done.epoch,
        "run_id": done.run_id or None,
        "operator": key.key_id,
        "unproven": True,
        "changed": done.changed,
    }
