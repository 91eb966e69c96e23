"""``lockstep-worker``: one process, one role; SIGTERM drains it and hands its work over.

A worker holds clients and settings, never the state of a run: killed at any moment, another one
goes on from the history and the store.
"""

import asyncio
import logging
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import click
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.adapters.store import open_store
from activities.bench import Bench
from activities.finishing import FinishActivities
from activities.gates import GateActivities
from activities.leasing import LeaseActivities
from activities.moving import MovingActivities
from activities.preflight import RunPreflight
from activities.preflight_environment import EnvironmentPreflight
from activities.wayback import BeginRollbackActivities, MoveBackActivities
from lockstep.digest import from_text
from lockstep.error_codes import exit_of
from lockstep.errors import LockstepError
from worker.settings import WorkerSettings, load_settings
from worker.telemetry import make_plugins, make_runtime
from workflows.client_api import CONTROL_QUEUE
from workflows.connection import connect
from workflows.environment import EnvironmentRollout
from workflows.rollout import Rollout
from workflows.wayback import Rollback

# As many threads as activity slots: a task never starts its clock while it queues for a thread.
ACTIVITY_SLOTS = 32
# A shift or an evaluation ends well within this; what does not is retried elsewhere.
DRAIN = timedelta(seconds=30)
# Beats are passed on each second, so that a step is given up only after several were missed.
BEAT = timedelta(seconds=1)
# How long a dead worker's cached workflows wait before another takes them over.
STICKY = timedelta(seconds=2)
CONNECT_FOR_S = 60.0
WORKFLOWS = [Rollout, EnvironmentRollout, Rollback]


def make_bench(settings: WorkerSettings) -> Bench:
    context = settings.context
    store = open_store(context.store, endpoint=context.store_endpoint)
    return Bench(
        store=store,
        tenant=context.tenant_id,
        now_us=lambda: time.time_ns() // 1_000,
        environments=frozenset(settings.environments),
        trust_root_pin=from_text(context.trust_root) if context.trust_root else None,
        signing_keys=dict(context.keys),
        development=context.development,
    )


def control_activities(bench: Bench) -> list:
    leases, finish = LeaseActivities(bench), FinishActivities(bench)
    return [
        RunPreflight(bench).preflight_run,
        leases.acquire,
        leases.wait,
        leases.hold,
        BeginRollbackActivities(bench).begin,
        finish.commit,
        finish.close,
    ]


def environment_activities(bench: Bench) -> list:
    moving = MovingActivities(bench)
    return [
        EnvironmentPreflight(bench).preflight_environment,
        moving.prepare,
        moving.shift,
        GateActivities(bench).evaluate,
        MoveBackActivities(bench).move_back,
    ]


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox watches ``workflows``; the core is passed through, being pure by its lint."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules("lockstep", "cbor2")
    )


def make_workers(client: Client, settings: WorkerSettings, bench: Bench) -> list[Worker]:
    """One Temporal worker per queue of this process."""
    workers = []
    if settings.runs_control:
        workers.append(
            Worker(
                client,
                task_queue=CONTROL_QUEUE,
                workflows=WORKFLOWS,
                activities=control_activities(bench),
                activity_executor=ThreadPoolExecutor(ACTIVITY_SLOTS, "control"),
                max_concurrent_activities=ACTIVITY_SLOTS,
                workflow_runner=workflow_runner(),
                sticky_queue_schedule_to_start_timeout=STICKY,
                graceful_shutdown_timeout=DRAIN,
                max_heartbeat_throttle_interval=BEAT,
            )
        )
    activities = environment_activities(bench)
    for name in settings.environments:
        spec = settings.profile.environment(name)
        workers.append(
            Worker(
                client,
                task_queue=spec.task_queue,
                activities=activities,
                activity_executor=ThreadPoolExecutor(ACTIVITY_SLOTS, name),
                max_concurrent_activities=ACTIVITY_SLOTS,
                graceful_shutdown_timeout=DRAIN,
                max_heartbeat_throttle_interval=BEAT,
            )
        )
    return workers


async def run_worker(settings: WorkerSettings) -> None:
    """Connect, poll, and stop on SIGTERM or SIGINT after what runs has ended."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    client = await _connect(settings, stop)
    if client is None:
        return
    async with AsyncExitStack() as stack:
        for worker in make_workers(client, settings, make_bench(settings)):
            await stack.enter_async_context(worker)
        if settings.ready_file is not None:
            settings.ready_file.write_text("ready\n")
        logging.info("ready: role %s of tenant %s", settings.role, settings.context.tenant_id)
        await stop.wait()
        logging.info("draining for at most %s", DRAIN)


async def _connect(settings: WorkerSettings, stop: asyncio.Event) -> Client | None:
    """Keep trying for a minute: a server that restarts must not need its workers restarted."""
    context = settings.context
    give_up = time.monotonic() + CONNECT_FOR_S
    runtime = make_runtime(settings.metrics_address)
    while not stop.is_set():
        try:
            return await connect(
                context.temporal_address,
                context.namespace,
                identity=f"{context.tenant_id}/{settings.role}",
                runtime=runtime,
                plugins=make_plugins(context.otlp_endpoint, settings.role),
            )
        except LockstepError:
            if time.monotonic() > give_up:
                raise
            await asyncio.sleep(1.0)
    return None


@click.command(help=__doc__)
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--context", "context_name", help="A context of the file; else its current one.")
@click.option("--role", required=True, help="control, an environment of the profile, or all.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Created once it polls.")
@click.option("--metrics", "metrics_address", help="HOST:PORT of the Prometheus endpoint.")
def main(
    config: Path,
    context_name: str | None,
    role: str,
    ready_file: Path | None,
    metrics_address: str | None,
) -> None:
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        settings = load_settings(config, context_name, role, ready_file, metrics_address)
        asyncio.run(run_worker(settings))
    except LockstepError as error:
        click.echo(f"error {error}\nnext: {error.hint}", err=True)
        sys.exit(int(exit_of(error.code)))


if __name__ == "__main__":
    main()
