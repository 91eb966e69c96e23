"""The embedded target: one process an environment, with proxy, instances, admin API and metrics.

``python -m infra.demo.agent --environment dev --service checkout --folder F --proxy-port P
--admin-port Q [--seed-release FOLDER]``. It keeps its state in ``F/agent.json`` and takes up where
it was after any end, a SIGKILL included; what it changed stands in ``F/effects.jsonl``. It ends
with SIGTERM. On an empty state the seed runs as ``legacy`` with all the traffic: a service that was
there before Lockstep.
"""

import argparse
import asyncio
import signal
import socket
import sys
from pathlib import Path

from aiohttp import web

from infra.demo import proxy
from infra.demo.admin import application
from infra.demo.fleet import Fleet
from infra.demo.metrics import Metrics


def claimed(port: int) -> socket.socket:
    """A loopback socket on ``port`` that does not listen yet. Raises OSError: it is taken."""
    claim = socket.socket()
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError as error:
        claim.close()
        raise OSError(f"port {port}: {error.strerror}") from None
    return claim


async def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM. Raises OSError or ValueError when it cannot start."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, over.set)
    router, metrics = proxy.Router(), Metrics()
    fleet = Fleet(arguments.folder, arguments.environment, arguments.service, router, metrics)
    runner = web.AppRunner(application(fleet, metrics), access_log=None)
    try:
        # Both ports are claimed before anything starts, and opened when the instances are up:
        # a restart must not count its own first second as failures of a release.
        user_socket = claimed(arguments.proxy_port)
        admin_socket = claimed(arguments.admin_port)
        await fleet.begin(arguments.seed_release)
        users = await proxy.listen(router, user_socket)
        await runner.setup()
        await web.SockSite(runner, admin_socket).start()
        sweeping = asyncio.create_task(router.sweep_for_ever())
        await over.wait()
        sweeping.cancel()
        users.close()
    finally:
        await runner.cleanup()
        await fleet.end()


def main() -> None:
    parser = argparse.ArgumentParser(description="The demo's target.")
    parser.add_argument("--environment", required=True)
    parser.add_argument("--service", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--proxy-port", type=int, required=True)
    parser.add_argument("--admin-port", type=int, required=True)
    parser.add_argument("--seed-release", type=Path)
    try:
        asyncio.run(run(parser.parse_args()))
    except (OSError, ValueError) as error:
        sys.exit(f"agent: {error}")


if __name__ == "__main__":
    main()
