"""Names by which clients and workers find workflows: types, ids, queues, updates, attributes."""

from temporalio.common import SearchAttributeKey

CONTROL_QUEUE = "lockstep-control"

ROLLOUT = "Rollout"
ENVIRONMENT = "EnvironmentRollout"
ROLLBACK = "Rollback"

QUERY_STATUS = "status"
QUERY_STAGES = "stages"
UPDATES = ("abort", "pause", "resume")

SERVICE = SearchAttributeKey.for_keyword("LockstepService")
ENVIRONMENT_NAME = SearchAttributeKey.for_keyword("LockstepEnvironment")
STAGE = SearchAttributeKey.for_keyword("LockstepStage")
STATUS = SearchAttributeKey.for_keyword("LockstepStatus")
RELEASE = SearchAttributeKey.for_keyword("LockstepRelease")
OWNER = SearchAttributeKey.for_keyword("LockstepOwner")
SEARCH_ATTRIBUTES = (SERVICE, ENVIRONMENT_NAME, STAGE, STATUS, RELEASE, OWNER)


def rollout_id(tenant: str, run_id: str) -> str:
    return f"rollout/{tenant}/{run_id}"


def environment_id(tenant: str, environment: str, service: str) -> str:
    """Also the server-enforced mutex: one open rollout per environment and service."""
    return f"environment/{tenant}/{environment}/{service}"


def rollback_id(tenant: str, environment: str, service: str, epoch: int) -> str:
    return f"rollback/{tenant}/{environment}/{service}/{epoch}"
