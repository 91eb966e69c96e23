"""What a rollout does in each environment, out of policy and profile: one plain value each."""

from dataclasses import dataclass

from lockstep.policy import Policy
from lockstep.profile import EnvironmentProfile, check_bakes


@dataclass(frozen=True)
class EnvironmentPlan:
    """Everything the workflow of one environment decides by; all times in seconds."""

    name: str
    production: bool
    task_queue: str
    cohorts: tuple[int, ...]
    bake_s: int
    settle_s: int
    ingest_delay_s: int
    extend_s: int
    inconclusive_max_s: int
    on_inconclusive: str
    on_failure: str
    lease_s: int
    progress_deadline_s: int
    rollback_max_s: int
    source_max_s: int
    max_skew_s: int
    concurrency: str
    lower_environments: str


def resolve_plan(policy: Policy, profile: EnvironmentProfile) -> list[EnvironmentPlan]:
    """The plan of each environment, in the profile's order.

    Raises:
        DocumentError: DOCUMENT_INVALID; a bake is below the policy's least, or the policy names
            an environment that the profile does not have.
    """
    check_bakes(policy, profile)
    return [
        EnvironmentPlan(
            name=environment.name,
            production=environment.production,
            task_queue=environment.task_queue,
            cohorts=policy.cohorts_for(environment.name),
            bake_s=environment.bake_s,
            settle_s=environment.sources[0].settle_s,
            ingest_delay_s=environment.sources[0].ingest_delay_s,
            extend_s=policy.extend_s_for(environment.name, environment.bake_s),
            inconclusive_max_s=policy.inconclusive_max_s,
            on_inconclusive=policy.on_inconclusive,
            on_failure=policy.on_failure,
            lease_s=environment.lease_s,
            progress_deadline_s=environment.progress_deadline_s,
            rollback_max_s=policy.rollback_max_s,
            source_max_s=environment.source_max_s,
            max_skew_s=environment.max_skew_s,
            concurrency=policy.concurrency,
            lower_environments=policy.lower_environments,
        )
        for environment in profile.environments
    ]
