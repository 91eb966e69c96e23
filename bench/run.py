"""``make bench``: every claim of speed as a figure, floor and product measured in one run.

Writes ``bench/results/latest.json`` and prints the table. Nothing here passes or fails.
"""

import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2

from lockstep import cbor
from lockstep.gates.evaluate import evaluate_bytes
from lockstep.gates.snapshot import Snapshot
from lockstep.policy import resolve_policy
from tests.processes import python_program, script, wait_until
from tests.world import GOOD, TemporalServer, World
from workflows.client_api import ROLLOUT
from workflows.connection import connect

RESULTS = Path(__file__).parent / "results" / "latest.json"
ROLLOUT_RUNS = 5
CLI_RUNS = 15


def row(
    name: str,
    values: list[float],
    unit: str,
    *,
    floor: float | None = None,
    product: float | None = None,
) -> dict[str, Any]:
    """One row: the median, with floor, product and ratio where there are two."""
    value = statistics.median(values)
    extra: dict[str, Any] = {}
    if floor is not None and product is not None:
        extra = {"floor": floor, "product": product, "ratio": product / floor}
        value = product / floor
    return {
        "name": name,
        "value": value,
        "unit": unit,
        **extra,
        "repetitions": len(values),
        "spread": [min(values), max(values)],
    }


def timed(call: Callable[[], object], within_s: float = 1.0) -> tuple[float, int]:
    """(seconds a call, calls) over about ``within_s``."""
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < within_s:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls, calls


# ---- bytes and verdicts --------------------------------------------------------------------


def snapshot_map() -> dict[str, Any]:
    side = {
        "requests": 4212,
        "errors": 3,
        "latency": {
            "kind": "histogram",
            "bounds_us": [5_000, 20_000, 80_000, 320_000, 1_280_000],
            "counts": [0, 12, 4198, 2, 0, 0],
        },
    }
    return {
        "schema_version": "lockstep.metrics-snapshot.v1",
        "tenant_id": "demo",
        "run_id": "0123456789abcdef",
        "environment": "prod",
        "cohort_percent": 25,
        "release_hash": b"\x01" * 32,
        "baseline_release_hash": b"\x02" * 32,
        "window": {"start_us": 1_700_000_000_000_000, "end_us": 1_700_000_005_000_000},
        "source": {"kind": "openmetrics", "parser_version": "1", "queries": ["open", "close"]},
        "raw": [b"\x03" * 32, b"\x04" * 32],
        "canary": side,
        "baseline": side,
        "replay": {"checked": 7, "failures": 0},
    }


def bench_bytes() -> list[dict[str, Any]]:
    """Encoding, decoding and judging one snapshot, in microseconds a call."""
    value = snapshot_map()
    data = cbor.encode(value)
    policy = resolve_policy({"schema_version": "lockstep.policy.v1", "service": "checkout"})
    digest = policy.digest()
    assert Snapshot.from_bytes(data).to_bytes() == data
    rows = []
    for name, floor_call, call in (
        ("cbor_encode_ratio", lambda: cbor2.dumps(value), lambda: cbor.encode(value)),
        ("cbor_decode_ratio", lambda: cbor2.loads(data), lambda: cbor.decode(data)),
    ):
        pairs = [(timed(floor_call, 0.3)[0], timed(call, 0.3)[0]) for _ in range(5)]
        floor, product = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratios = [mine / theirs for theirs, mine in pairs]
        rows.append(row(name, ratios, "ratio", floor=floor, product=product))
    rates = [
        1 / timed(lambda: evaluate_bytes(data, policy, digest).to_bytes(), 0.5)[0] for _ in range(5)
    ]
    rows.append(row("strict_verdicts_per_s", rates, "1/s"))
    return rows


# ---- the command line ----------------------------------------------------------------------


def seconds_of(command: list[object]) -> float:
    """Wall time of a whole process."""
    start = time.perf_counter()
    subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - start


def seconds_to_first_request(command: list[object], listener: socket.socket) -> float:
    """From the start of a process to its first byte at ``listener``; the process is then ended."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
        return time.perf_counter() - start
    finally:
        process.kill()
        process.wait()


def bench_cli() -> list[dict[str, Any]]:
    """``--help`` as a whole process; ``status`` up to its first request against a bare import."""
    client = script("client")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(30)
        config = Path(folder) / "lockstep.toml"
        config.write_text(
            'current = "x"\n[contexts.x]\ntenant_id = "demo"\ndevelopment = true\n'
            f'store = "file://{folder}"\n'
            f'temporal_address = "127.0.0.1:{listener.getsockname()[1]}"\n'
        )
        status = [client, "--config", config, "status", "0123456789abcdef"]
        floor_command: list[object] = [sys.executable, "-c", "import temporalio.client"]
        seconds_of([client, "--help"])
        seconds_of(floor_command)
        seconds_to_first_request(status, listener)
        helps = [seconds_of([client, "--help"]) * 1000 for _ in range(CLI_RUNS)]
        pairs = [
            (seconds_of(floor_command), seconds_to_first_request(status, listener))
            for _ in range(CLI_RUNS)
        ]
    floor, product = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [mine / theirs for theirs, mine in pairs]
    return [
        row("cli_help_ms", helps, "ms"),
        row("cli_status_ratio", ratios, "ratio", floor=floor, product=product),
    ]


# ---- a whole rollout -----------------------------------------------------------------------


async def events_of(client, started: datetime) -> tuple[int, int]:
    """(history events, activities) of every workflow started since ``started``."""
    events = activities = 0
    when = started.strftime("%Y-%m-%dT%H:%M:%SZ")
    async for found in client.list_workflows(f"StartTime >= '{when}'"):
        if found.workflow_type not in (ROLLOUT, "EnvironmentRollout"):
            continue
        handle = client.get_workflow_handle(found.id, run_id=found.run_id)
        history = await handle.fetch_history()
        events += len(history.events)
        activities += sum(
            e.HasField("activity_task_scheduled_event_attributes") for e in history.events
        )
    return events, activities


async def bench_rollout() -> list[dict[str, Any]]:
    """Whole rollouts on a server and a world of their own, ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        server = TemporalServer(Path(folder)).start()
        world = World(Path(folder) / "world", server)
        bare = python_program(
            "bare", ["-m", "bench.bare", server.address], Path(folder) / "bare.log"
        )
        try:
            return await measure_rollouts(world.build(), bare, server.address)
        finally:
            world.stop()
            bare.stop()
            server.program.stop()


async def measure_rollouts(world: World, bare, address: str) -> list[dict[str, Any]]:
    """Each rollout beside a bare workflow of as many activities; the first pair warms up."""
    world.start_worker()
    bare.start()
    wait_until(lambda: bare.check() and "ready" in bare.log.read_text(), "the bare worker polls")
    world.adopt()
    for name in world.environments:
        world.set_metrics(name, GOOD, GOOD)
    client = await connect(address, "default")
    events, pairs = [], []
    for number in range(ROLLOUT_RUNS + 1):
        release = world.release(f"1.{number}.0")
        started = datetime.now(UTC)
        result = world.json("start-rollout", release, within_s=120)
        handle = client.get_workflow_handle(f"rollout/{result['tenant_id']}/{result['run_id']}")
        told = await handle.describe()
        product = (told.close_time - told.start_time).total_seconds()
        await asyncio.sleep(1.0)  # visibility of the dev server lags a little
        total, activities = await events_of(client, started)
        begun = time.perf_counter()
        await client.execute_workflow(
            "Bare", activities, id=f"bare-{number}", task_queue="bare", result_type=int
        )
        floor = time.perf_counter() - begun
        if number == 0:
            continue  # warm-up
        events.append(float(total))
        pairs.append((floor, product))
    floor, product = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [mine / theirs for theirs, mine in pairs]
    return [
        row("rollout_overhead", ratios, "ratio", floor=floor, product=product),
        row("rollout_events", events, "events"),
    ]


def main() -> None:
    rows = [*bench_bytes(), *bench_cli(), *asyncio.run(bench_rollout())]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    document = {
        "schema_version": "lockstep.bench.v1",
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "commit": commit,
        "rows": rows,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    for found in rows:
        ratio = ""
        if "floor" in found:
            ratio = f"  floor {found['floor']:.4g}  product {found['product']:.4g}"
        low, high = found["spread"]
        print(
            f"{found['name']:24} {found['value']:10.4g} {found['unit']:8}"
            f" [{low:.4g} … {high:.4g}] n={found['repetitions']}{ratio}"
        )


if __name__ == "__main__":
    main()
