"""commit and close: the two ends of a run.

commit publishes COMMITTED after everything it points to has been written, read back and
recomputed (spec bytes §6); every step finds what an earlier attempt left, so killing it anywhere
and running it again gives the same one pointer. close ends a run that was not committed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from activities import tracing
from activities.bench import MICROS, Bench
from activities.calls import step
from activities.certifying import RolloutEvidence, sign_rollout_certificate
from activities.ends import (
    Records,
    as_texts,
    failure_record,
    failure_step,
    first_rollback,
    from_texts,
    reports_in,
)
from activities.in_use import bill_of_materials, manifest_of
from lockstep import cbor, determinism, lineage, operators, trace, utc
from lockstep.checkpoint import Checkpoint
from lockstep.commit import committed_from
from lockstep.digest import from_text, to_text
from lockstep.errors import DataError, FencedError
from lockstep.gates.replay import recheck
from lockstep.gates.snapshot import Snapshot
from lockstep.ledger import Current, made_good, served
from lockstep.messages import CloseRequest, CommitRequest, EndResult, RunContext, RunStatusName
from lockstep.release.manifest import Manifest
from lockstep.reports import DeploymentReport
from lockstep.trust.certificate import read_certificate
from lockstep.wal import WalRecord

FINAL_NUMBERS = 9 * 10**12


@dataclass(frozen=True)
class FinishActivities:
    bench: Bench

    @activity.defn(name="run.commit")
    @step
    def commit(self, request: CommitRequest) -> EndResult:
        """Safe to retry: the log says how far an earlier attempt came."""
        bench, run = self.bench, request.run
        bench.own(run)
        records = tracing.load(bench, request.cursor)
        last = bench.wal(run.run_id).read().last
        if last is None or last.record_type != "FINALIZE":
            last = self._finalize(request, records)
        # FINALIZE is the point of no return: whoever comes after it rolls forward.
        bench.wal(run.run_id).publish(committed_from(last))
        self._advance(run, request.epochs)
        final = last.payload
        reports = self._deployment_report(
            run,
            records,
            final["trace_tail_hash"],
            final["trace_final_hash"],
            epochs=request.epochs,
            rollback_releases=request.rollback_releases,
            certificate=final["certificate_hash"],
        )
        return EndResult(
            committed=True,
            reports=as_texts(reports),
            trace_tail_hash=to_text(final["trace_tail_hash"]),
        )

    def _finalize(self, request: CommitRequest, records: Records) -> WalRecord:
        """Write everything, read it back, sign, and append FINALIZE."""
        bench, run = self.bench, request.run
        self._check_lease(run, request.epochs)
        self._recheck(run, records)
        manifest = self._manifest(run)
        sealed = self._sealed(run, records, "success")
        checkpoint_hash = from_text(request.checkpoint)
        rows = self._lineage(run, records, checkpoint_hash)
        root = lineage.root(rows)
        final = {
            "trace_tail_hash": sealed[-1]["trace_tail_hash"],
            "checkpoint_hash": checkpoint_hash,
            "lineage_root_hash": root,
        }
        objects = [cbor.encode(sealed), cbor.encode(rows)]
        trace_final, lineage_final = bench.cas.put_all(
            objects,
            owner=run.run_id,
            seq=FINAL_NUMBERS,
            now_us=bench.now_us(),
            retention_class="certified_release",
        )
        self._read_back(final, trace_final, lineage_final)
        certificate_hash = self._certificate(run, manifest, records, final)
        index = bench.ledger.release_index(from_text(run.release_hash))
        return bench.wal(run.run_id).append(
            "FINALIZE",
            {
                **final,
                "certificate_hash": certificate_hash,
                "manifest_hash": index.manifest_hash,
                "policy_bundle_hash": from_text(run.policy_bundle_hash),
                "operator_registry_hash": operators.root_hash(),
                "determinism_profile_hash": determinism.profile_hash(),
                "trace_final_hash": trace_final,
                "lineage_final_hash": lineage_final,
                "release_certificate_hash": index.certificate_hash,
                "env_manifest_hash": from_text(run.env_manifest_hash),
            },
        )

    @activity.defn(name="run.close")
    @step
    def close(self, request: CloseRequest) -> EndResult:
        """Safe to retry: an equal last record of the log is found again."""
        bench, run = self.bench, request.run
        bench.own(run)
        records = tracing.load_or_none(bench, request.cursor)
        back = from_texts(request.rollback_reports)
        newest = first_rollback(records or [], back)
        payload: dict[str, Any] = {"code": request.code}
        if records is None:  # the trace itself was lost; the log says so and names its tail
            tail, trace_final, records = from_text(request.cursor.tail), None, []
        else:
            failure = failure_record(request, records)
            records = [*records, failure_step(records, failure)]
            sealed = self._sealed(run, records, request.status.value, newest)
            tail = sealed[-1]["trace_tail_hash"]
            trace_final = bench.cas.put_all(
                [cbor.encode(sealed), failure.to_bytes()],
                owner=run.run_id,
                seq=FINAL_NUMBERS,
                now_us=bench.now_us(),
            )[0]
            payload["trace_final_hash"] = trace_final
        payload["trace_tail_hash"] = tail
        gates = tracing.gate_reports_of(records)
        if gates:
            payload["gate_report_hash"] = gates[-1]
        if newest is not None:
            payload["rollback_report_hash"] = newest
        bench.wal(run.run_id).append("ROLLBACK", payload)
        reports = self._deployment_report(
            run,
            records,
            tail,
            trace_final,
            epochs=request.epochs,
            rollback_releases=request.rollback_releases,
            closing=request,
        )
        if newest is not None:
            reports["rollback_report"] = newest
        reports = bench.ledger.put_reports_index(run.run_id, reports)
        return EndResult(committed=False, reports=as_texts(reports), trace_tail_hash=to_text(tail))

    # ---- what the end is made of ------------------------------------------------------------

    def _check_lease(self, run: RunContext, epochs: Mapping[str, int]) -> None:
        """A run that lost production to a newer owner must not commit.

        Raises:
            FencedError: another run or epoch holds production.
        """
        spec = self.bench.profile(run).environments[-1]
        self.bench.ledger.hold_or_given_back(
            spec.name, run.service, run.run_id, epochs[spec.name], until_s=spec.lease_s
        )

    def _recheck(self, run: RunContext, records: Records) -> None:
        """Every verdict once more, before anything is signed over them."""
        looks = tracing.looks_of(records)
        done = recheck(
            looks, self.bench.cas.get, self.bench.policy(run), from_text(run.policy_bundle_hash)
        )
        if done.failures or not looks:
            raise DataError(
                "TRACE_INVALID", f"{done.failures} of {done.checked} verdicts do not recompute"
            )

    def _manifest(self, run: RunContext) -> Manifest:
        manifest = manifest_of(self.bench, from_text(run.release_hash))
        if manifest is None:
            raise DataError("OBJECT_MISSING", f"no release {run.release_hash} in the store")
        return manifest

    def _sealed(
        self,
        run: RunContext,
        records: Records,
        status: str,
        rollback_report: bytes | None = None,
    ) -> list[dict[str, Any]]:
        end = trace.run_end(
            final_status=status,
            release_hash=from_text(run.release_hash),
            sbom_hash=bill_of_materials(
                self.bench, records[0]["env"], run.service, from_text(run.release_hash)
            ),
            gate_report_hashes=tracing.gate_reports_of(records),
            rollback_report_hash=rollback_report,
        )
        sealed = trace.seal([*records, end])
        trace.validate_trace(sealed, "rollout")
        return sealed

    def _lineage(
        self, run: RunContext, records: Records, checkpoint_hash: bytes
    ) -> list[list[Any]]:
        """A rollout's lineage: all that led to the decision, never what binds it."""
        index = self.bench.ledger.release_index(from_text(run.release_hash))
        if index is None:
            raise DataError("OBJECT_MISSING", f"no release {run.release_hash} in the store")
        rows = [
            ["checkpoint", "final", checkpoint_hash],
            ["environment_profile", "resolved", from_text(run.env_manifest_hash)],
            ["policy_bundle", "resolved", from_text(run.policy_bundle_hash)],
            ["release_certificate", run.service, index.certificate_hash],
            ["release_manifest", run.service, index.manifest_hash],
        ]
        for record in records:
            for name, kind in (
                ("snapshot", "metrics_snapshot"),
                ("gate_report", "gate_report"),
                ("trust_report", "trust_report"),
            ):
                digest = (record.get("evidence") or {}).get(name)
                if digest is not None:
                    rows.append([kind, f"{record['t']:06d} {record['stage']}", digest])
        return sorted(rows, key=lambda row: (row[0].encode(), row[1].encode()))

    def _read_back(
        self, final: Mapping[str, bytes], trace_final: bytes, lineage_final: bytes
    ) -> None:
        """Recompute every bound hash from what the store now holds.

        Raises:
            DataError: TRACE_INVALID or LINEAGE_INVALID; what was stored is not what was meant.
        """
        cas = self.bench.cas
        if trace.tail(cbor.decode(cas.get(trace_final))) != final["trace_tail_hash"]:
            raise DataError("TRACE_INVALID", "the stored trace gives another tail")
        if lineage.root(cbor.decode(cas.get(lineage_final))) != final["lineage_root_hash"]:
            raise DataError("LINEAGE_INVALID", "the stored lineage gives another root")
        Checkpoint.from_bytes(cas.get(final["checkpoint_hash"]))

    def _certificate(
        self,
        run: RunContext,
        manifest: Manifest,
        records: Records,
        final: Mapping[str, bytes],
    ) -> bytes:
        """The rollout certificate: the one signed before, or a new one; then CERT_SIGNED."""
        bench = self.bench
        wal = bench.wal(run.run_id)
        for record in wal.read().records:
            if record.record_type == "CERT_SIGNED":
                known = record.payload["certificate_hash"]
                payload, _ = read_certificate(bench.cas.get(known))
                if any(payload[_BOUND[name]] != final[name] for name in final):
                    raise DataError(
                        "COMMITTED_CONFLICT", "an earlier certificate binds another end"
                    )
                return known
        evidence = RolloutEvidence(
            run=run,
            manifest=manifest,
            gate_reports=tracing.gate_reports_of(records),
            trace_tail=final["trace_tail_hash"],
            checkpoint=final["checkpoint_hash"],
            lineage_root=final["lineage_root_hash"],
            step_end=records[-1]["t"],
        )
        body = sign_rollout_certificate(bench, evidence)
        certificate_hash = bench.cas.put_all(
            [body],
            owner=run.run_id,
            seq=FINAL_NUMBERS + 100,
            now_us=bench.now_us(),
            retention_class="certified_release",
        )[0]
        wal.append("CERT_SIGNED", {**final, "certificate_hash": certificate_hash})
        return certificate_hash

    def _advance(self, run: RunContext, epochs: Mapping[str, int]) -> None:
        """CURRENT of production, then ``last_good`` wherever the release still serves."""
        ledger, name = self.bench.ledger, from_text(run.release_hash)
        production = self.bench.profile(run).environments[-1].name
        for environment, epoch in epochs.items():
            serve = environment == production

            def change(current: Current | None, serve: bool = serve) -> Current | None:
                return made_good(served(current, name) if serve else current, name)

            try:
                ledger.set_current(environment, run.service, epoch, change)
                if serve:
                    ledger.free(environment, run.service, run.run_id, epoch)
            except FencedError:
                # COMMITTED stands whatever follows; a newer owner has moved this pointer on.
                continue

    def _stage(self, look: dict[str, Any]) -> dict[str, Any]:
        """One look as people list it; its times are its window's, out of the snapshot."""
        evidence = look["evidence"]
        stage = {
            "stage": look["stage"],
            "action": look["action"],
            "outcome": look["gate_result"],
            "snapshot_hash": evidence["snapshot"],
            "verdict_hash": evidence["gate_report"],
        }
        try:
            window = Snapshot.from_bytes(self.bench.cas.get(evidence["snapshot"])).window
        except DataError:
            return stage  # lost or altered: ``verify`` names it, and the end must still be written
        return stage | {
            "started": utc.from_seconds(window.start_us // MICROS),
            "ended": utc.from_seconds(window.end_us // MICROS),
        }

    def _deployment_report(
        self,
        run: RunContext,
        records: Records,
        tail: bytes,
        trace_final: bytes | None,
        *,
        epochs: Mapping[str, int],
        rollback_releases: Mapping[str, str],
        certificate: bytes | None = None,
        closing: CloseRequest | None = None,
    ) -> dict[str, bytes]:
        """Write it and, for a committed run, the index of all reports."""
        bench = self.bench
        prepare = bench.wal(run.run_id).read().records[0].payload
        report = DeploymentReport(
            tenant_id=run.tenant_id,
            run_id=run.run_id,
            operation=prepare["operation"],
            service=run.service,
            release_hash=from_text(run.release_hash),
            sbom_hash=bill_of_materials(
                bench, prepare["environments"], run.service, from_text(run.release_hash)
            ),
            final_status=closing.status.value if closing else RunStatusName.SUCCESS.value,
            code=closing.code if closing else "",
            cause=closing.cause if closing else "",
            committed=closing is None,
            trace_tail_hash=tail,
            trace_final_hash=trace_final,
            gate_report_hashes=tracing.gate_reports_of(records),
            rollback_report_hashes=from_texts(closing.rollback_reports) if closing else {},
            certificate_hash=certificate,
            rollback_releases=from_texts(rollback_releases),
            stages=[self._stage(look) for look in tracing.looks_of(records)],
            epochs=dict(epochs),
            finished_at=utc.from_seconds(bench.now_us() // MICROS),
        )
        digest = bench.cas.put_all(
            [report.to_bytes()],
            owner=run.run_id,
            seq=FINAL_NUMBERS + 200,
            now_us=bench.now_us(),
        )[0]
        reports = {**reports_in(records), "deployment_report": digest}
        return bench.ledger.put_reports_index(run.run_id, reports) if closing is None else reports


_BOUND = {
    "trace_tail_hash": "trace_root_hash",
    "checkpoint_hash": "checkpoint_hash",
    "lineage_root_hash": "lineage_root_hash",
}
"""FINALIZE's names for three hashes → the certificate's."""
