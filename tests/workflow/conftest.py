"""One place a test; where a target is needed, a real demo agent with a release of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.demo_agent import Agent, running
from tests.workflow.place import Place, make_place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with running(tmp_path / "agent") as one:
        yield one


@pytest.fixture
def place_with_agent(agent: Agent, tmp_path: Path) -> Place:
    return make_place(tmp_path, admin_url=agent.admin_url)
