"""One real Temporal server for all end-to-end tests, and a world of its own for each module."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.world import TemporalServer, World

Worlds = Callable[..., World]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """A server a module: workflow ids carry the service and the environment, not the world."""
    running = TemporalServer(tmp_path_factory.mktemp("temporal")).start()
    yield running
    running.program.stop()


@pytest.fixture(scope="module")
def worlds(server: TemporalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """Build worlds on the module's server, one at a time: their workers poll the same queues."""
    built: list[World] = []

    def make(**options) -> World:
        for earlier in built:
            earlier.stop()
        folder: Path = tmp_path_factory.mktemp("world")
        world = World(folder / "w", server, **options)
        built.append(world)
        return world.build()

    yield make
    for world in built:
        world.stop()
