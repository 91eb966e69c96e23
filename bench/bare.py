"""The floor: a bare workflow of no-op activities on the same server, with a worker of its own.

``python -m bench.bare ADDRESS`` polls until SIGTERM.
"""

import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

QUEUE = "bare"


@activity.defn(name="noop")
def noop(number: int) -> int:
    return number


@workflow.defn(name="Bare")
class Bare:
    @workflow.run
    async def run(self, activities: int) -> int:
        for number in range(activities):
            await workflow.execute_activity(
                noop, number, start_to_close_timeout=timedelta(seconds=30)
            )
        return activities


async def main(address: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address)
    slots = 32
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[Bare],
        activities=[noop],
        activity_executor=ThreadPoolExecutor(slots),
        max_concurrent_activities=slots,
    ):
        print("ready", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
