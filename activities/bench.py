"""What the activities of one worker work with: clients and settings, never the state of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from activities.adapters.sources import open_source
from activities.adapters.store import Cas, Ledger, WalStore
from activities.adapters.targets import open_target
from lockstep import cbor
from lockstep.digest import from_text
from lockstep.errors import DataError, RefusedError, UnavailableError
from lockstep.messages import RunContext
from lockstep.policy import Policy, resolve_policy
from lockstep.ports import NowUs, Source, Store, Target
from lockstep.profile import EnvironmentProfile, EnvironmentSpec, resolve_profile
from lockstep.record import Record

MICROS = 1_000_000
DOCUMENTS_MAX = 64

T = TypeVar("T", bound=Record)


@dataclass(frozen=True)
class Bench:
    """Built once by ``worker.main``; every request is checked to be this worker's own."""

    store: Store
    tenant: str
    now_us: NowUs
    environments: frozenset[str]
    """The environments whose targets this worker may touch; empty for a pure control worker."""
    trust_root_pin: bytes | None = None
    signing_keys: Mapping[str, str] = field(default_factory=dict)
    """Purpose → reference to where the private key is kept."""
    development: bool = False
    target_opener: Callable[[str, Mapping[str, Any]], Target] = open_target
    source_opener: Callable[[str, Mapping[str, Any]], Source] = open_source
    documents: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Resolved policies and profiles by digest; immutable, so that no run's state is in it."""

    @property
    def cas(self) -> Cas:
        return Cas(self.store, self.tenant)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store, self.tenant)

    def wal(self, run_id: str) -> WalStore:
        return WalStore(self.store, self.tenant, run_id)

    def own(self, run: RunContext, environment: str | None = None) -> None:
        """Refuse work of another tenant or environment, whoever put it on the queue.

        Raises:
            RefusedError: NOT_AUTHORISED.
        """
        if run.tenant_id != self.tenant:
            raise RefusedError(
                "NOT_AUTHORISED",
                f"a worker of tenant {self.tenant} was given work of {run.tenant_id}",
            )
        if environment is not None and environment not in self.environments:
            raise RefusedError("NOT_AUTHORISED", f"this worker does not serve {environment}")

    def policy(self, run: RunContext) -> Policy:
        """The resolved policy by its digest; never "the latest"."""
        return self._document(resolve_policy, run.policy_bundle_hash)

    def profile(self, run: RunContext) -> EnvironmentProfile:
        return self._document(resolve_profile, run.env_manifest_hash)

    def _document(self, resolve: Callable[[Any], T], digest: str) -> T:
        """Read once a worker: a digest names the same document for ever."""
        known = self.documents.get(digest)
        if known is None:
            known = _same(resolve, self.cas.get(from_text(digest)))
            if len(self.documents) >= DOCUMENTS_MAX:
                self.documents.clear()
            self.documents[digest] = known
        return known

    def environment(self, run: RunContext, name: str) -> EnvironmentSpec:
        """One environment of the run's own profile.

        Raises:
            DataError: DOCUMENT_INVALID; the profile has no such environment.
        """
        found = self.profile(run).environment(name)
        if found is None:
            raise DataError("DOCUMENT_INVALID", f"the profile has no environment {name}")
        return found

    def target(self, spec: EnvironmentSpec) -> Target:
        return self.target_opener(spec.targets[0].kind, spec.targets[0].settings)

    def source(self, spec: EnvironmentSpec) -> Source:
        return self.source_opener(spec.sources[0].kind, spec.sources[0].settings)

    def check_clock(self, spec: EnvironmentSpec) -> None:
        """Stop progress when the worker's and the store's clocks disagree (spec rollout §3).

        Raises:
            UnavailableError: CLOCK_SKEW.
        """
        skew_s = abs(self.store.now().timestamp() - self.now_us() / MICROS)
        if skew_s > spec.max_skew_s:
            raise UnavailableError(
                "CLOCK_SKEW",
                f"worker and store clocks differ by {skew_s:.1f} s, limit {spec.max_skew_s} s",
            )


def _same(resolve: Callable[[Any], T], data: bytes) -> T:
    """Read a resolved document; one that resolves to other bytes was not resolved."""
    found = resolve(cbor.decode(data))
    if found.to_bytes() != data:
        raise DataError("DOCUMENT_INVALID", "the stored document is not in its resolved form")
    return found
