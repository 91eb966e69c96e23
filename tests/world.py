"""A whole small world for tests: real Temporal server, agents, store, trust, workers, releases.

Everything is a real program started by us on free ports. Metrics come from the ``file`` source, so
that a test says what the gate sees; the demo's own tests use real traffic.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from activities.adapters.store import Ledger, open_store
from activities.adapters.targets import open_target
from activities.adapters.trust_setup import create_dev_trust
from client.devstack.releases import make_demo_release, write_service
from infra.dev.parts import resolve
from lockstep.ports import TargetState
from tests.processes import Program, answers, free_port, python_program, script, wait_until
from workflows.client_api import SEARCH_ATTRIBUTES

SERVICE = "checkout"
TENANT = "demo"
GOOD = {"requests": 1000, "errors": 0, "latency": {"kind": "p95", "p95_us": 80_000}}
BAD = {"requests": 1000, "errors": 60, "latency": {"kind": "p95", "p95_us": 80_000}}


class TemporalServer:
    """The real dev server on its own ports, state in one SQLite file, restartable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.ui_port = free_port(), free_port()
        attributes = [f"{key.name}=Keyword" for key in SEARCH_ATTRIBUTES]
        self.program = Program(
            "temporal",
            [
                resolve("temporal"),
                *("server", "start-dev", "--headless=false", "--ip", "127.0.0.1"),
                *("--port", self.port, "--ui-port", self.ui_port),
                *("--db-filename", folder / "temporal.sqlite", "--log-level", "error"),
                *(part for name in attributes for part in ("--search-attribute", name)),
            ],
            folder / "temporal.log",
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> "TemporalServer":
        self.program.start()
        wait_until(
            lambda: self.program.check() and answers(self.port), "the Temporal server listens"
        )
        return self


@dataclass
class World:
    folder: Path
    server: TemporalServer
    environments: Sequence[str] = ("dev", "staging", "prod")
    bake_s: int = 0
    settle_s: int = 0
    cohorts: Sequence[int] = (1, 5, 25, 50, 100)
    policy_extra: Mapping[str, Any] = field(default_factory=dict)
    profile_extra: Mapping[str, Any] = field(default_factory=dict)
    seeded: bool = True
    """Whether a legacy release serves already, as one does before Lockstep comes."""
    store_url: str | None = None
    """None: a folder of the world's own."""
    store_endpoint: str | None = None
    programs: dict[str, Program] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)

    # ---- set-up -----------------------------------------------------------------------------

    def build(self) -> "World":
        """Agents with a legacy release, store, trust, documents; no worker yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.store_url is None:
            store_folder = self.folder / "store"
            store_folder.mkdir()
            self.store_url = store_folder.as_uri()
        self.store = open_store(self.store_url, endpoint=self.store_endpoint)
        self.ledger = Ledger(self.store, TENANT)
        now = self.store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self.trust = create_dev_trust(self.folder / "keys", self.store, TENANT, now)
        seed = self.folder / "seed"
        write_service(seed, "0.9.0")
        for name in self.environments:
            self._start_agent(name, seed)
            self.set_metrics(name, GOOD, GOOD)
        self._write_documents()
        return self

    def _start_agent(self, name: str, seed: Path) -> None:
        admin = free_port()
        self.agents[name] = f"http://127.0.0.1:{admin}"
        arguments = [
            *("-m", "infra.demo.agent", "--environment", name, "--service", SERVICE),
            *("--folder", self.folder / "agents" / name, "--proxy-port", str(free_port())),
            *("--admin-port", str(admin)),
        ]
        if self.seeded:
            arguments += ["--seed-release", seed]
        log = self.folder / "logs" / f"agent-{name}.log"
        program = python_program(f"agent {name}", arguments, log).start()
        self.programs[f"agent-{name}"] = program
        wait_until(lambda: program.check() and answers(admin), f"the agent of {name} answers")

    def _write_documents(self) -> None:
        policy = {
            "schema_version": "lockstep.policy.v1",
            "service": SERVICE,
            "cohorts": list(self.cohorts),
            **self.policy_extra,
        }
        profile = {
            "schema_version": "lockstep.environment-profile.v1",
            "environments": [self._environment(name) for name in self.environments],
        }
        self._yaml("policy.yaml", policy)
        self._yaml("profile.yaml", profile)
        context = {
            "tenant_id": TENANT,
            "namespace": "default",
            "temporal_address": self.server.address,
            "ui_url": f"http://127.0.0.1:{self.server.ui_port}",
            "store": self.store_url,
            "policy": "policy.yaml",
            "profile": "profile.yaml",
            "trust_root": self.trust.pin,
        }
        if self.store_endpoint is not None:
            context["store_endpoint"] = self.store_endpoint
        lines = ['current = "dev"', "[contexts.dev]", "development = true"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in context.items()]
        lines += ["[contexts.dev.keys]"]
        lines += [f"{name} = {json.dumps(ref)}" for name, ref in self.trust.keys.items()]
        self.config = self.folder / "lockstep.toml"
        self.config.write_text("\n".join(lines) + "\n")

    def _environment(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "bake_s": self.bake_s,
            "targets": [
                {"name": "main", "kind": "demo", "settings": {"admin_url": self.agents[name]}}
            ],
            "sources": [
                {
                    "name": "main",
                    "kind": "file",
                    "settle_s": self.settle_s,
                    "settings": {"path": str(self.folder / "metrics" / f"{name}.json")},
                }
            ],
            "lease_s": 20,
            **self.profile_extra,
        }

    def _yaml(self, name: str, document: Any) -> None:
        with (self.folder / name).open("w") as out:
            YAML().dump(document, out)

    def set_metrics(
        self, environment: str, canary: Mapping | None, baseline: Mapping | None = None
    ) -> None:
        """What the gate will see; None takes the source away."""
        path = self.folder / "metrics" / f"{environment}.json"
        path.parent.mkdir(exist_ok=True)
        if canary is None:
            path.unlink(missing_ok=True)
            return
        staged = path.with_suffix(".new")
        staged.write_text(json.dumps({"canary": canary, "baseline": baseline or GOOD}))
        staged.replace(path)

    # ---- programs ---------------------------------------------------------------------------

    def start_worker(self, role: str = "all") -> Program:
        ready = self.folder / f"ready-{role}"
        ready.unlink(missing_ok=True)
        program = Program(
            f"worker {role}",
            [
                script("lockstep-worker"),
                *("--config", self.config, "--role", role, "--ready-file", ready),
            ],
            self.folder / "logs" / f"worker-{role}.log",
        ).start()
        self.programs[f"worker-{role}"] = program
        wait_until(lambda: program.check() and ready.exists(), f"worker {role} polls")
        return program

    def run(self, *words: str | Path, within_s: float = 120) -> subprocess.CompletedProcess:
        """Run the installed ``client`` as a person would."""
        return subprocess.run(
            [script("client"), "--config", self.config, *(str(word) for word in words)],
            capture_output=True,
            text=True,
            timeout=within_s,
            stdin=subprocess.DEVNULL,
        )

    def refused(self, *words: str | Path) -> str:
        """What a command that must not succeed says on stderr."""
        done = self.run(*words)
        assert done.returncode not in (0, 1), done.stderr[-2000:]
        return done.stderr

    def client(self, *words: str | Path, expect: int | None = 0, within_s: float = 120) -> str:
        """Run the installed ``client``; its stdout."""
        done = self.run(*words, within_s=within_s)
        if expect is not None and done.returncode != expect:
            raise AssertionError(
                f"client {' '.join(map(str, words))}: exit {done.returncode}, not {expect}\n"
                f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
            )
        return done.stdout

    def json(self, *words: str | Path, expect: int | None = 0, within_s: float = 120) -> Any:
        return json.loads(self.client(*words, "--output", "json", expect=expect, within_s=within_s))

    def stop(self) -> None:
        for program in reversed(self.programs.values()):
            program.stop()

    # ---- the road ---------------------------------------------------------------------------

    def adopt(self) -> None:
        for name in self.environments:
            self.client("adopt", SERVICE, "--env", name)

    def release(self, version: str, **config: Any) -> str:
        """A packed, certified, approved release in the store; its release_hash."""
        folder = self.folder / "releases" / version
        source = make_demo_release(
            folder, version, policy_path=self.folder / "policy.yaml", **config
        )
        bundle = folder / "bundle"
        self.client("release", "pack", source, "--out", bundle)
        self.client("release", "certify", bundle)
        return self.json("release", "approve", bundle)["release_hash"]

    def start(self, release: str, *words: str, expect: int | None = 0, within_s: float = 120):
        return self.json("start-rollout", release, *words, expect=expect, within_s=within_s)

    def status(self, run_id: str) -> dict[str, Any]:
        return self.json("status", run_id, expect=None)

    def target(self, environment: str) -> TargetState:
        return open_target("demo", {"admin_url": self.agents[environment]}).state()

    def effects(self, environment: str) -> list[dict[str, Any]]:
        """Every change that the target really made, numbered."""
        path = self.folder / "agents" / environment / "effects.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]
