"""``client release`` and ``client keys`` on a file store: pack, certify, approve, load, verify."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from activities.adapters.bundle import read_bundle, write_certificate
from activities.adapters.releases import load_release, load_trust, pinned_revocations_of
from activities.adapters.secrets import SigningKey, resolve_key, write_key_file
from activities.adapters.store import open_store
from activities.adapters.store.cas import Cas
from activities.adapters.store.ledger import Ledger
from activities.adapters.trust_setup import DevTrust, create_dev_trust, generate_key
from client.main import run
from lockstep import cbor, determinism, layout, operators, utc
from lockstep.digest import from_text, sha256
from lockstep.errors import DataError, Exit
from lockstep.hashes import release_hash
from lockstep.trust.certificate import read_certificate, sign_certificate
from lockstep.trust.equalities import Expected
from lockstep.trust.verify import Rules, TrustReport, verify_release
from tests import release_world as world

TENANT = "demo"
RELEASE_YAML = """\
service: shop
version: 1.2.3
code_commit: 0123456789abcdef0123456789abcdef01234567
artifacts:
  - {name: service.py, path: service.py, media_type: text/x-python}
configs:
  - {name: config.json, path: config.json}
evidence:
  lockfile: requirements.lock
  toolchain: toolchain.yaml
  runtime_env: env.yaml
  sbom: sbom.json
  policy: policy.yaml
qualification:
  steps:
    - {name: unit-tests, status: success, evidence: unit.log}
"""
FILES = {
    "release.yaml": RELEASE_YAML,
    "service.py": "print('hello')\n",
    "config.json": "{}\n",
    "requirements.lock": world.LOCK.decode(),
    "toolchain.yaml": "python_version: 3.11.7\npip_version: 23.2.1\ninstaller_version: uv 0.9\n",
    "env.yaml": "variables:\n  LANG: C.UTF-8\n",
    "sbom.json": world.SBOM.decode(),
    "policy.yaml": "schema_version: lockstep.policy.v1\nservice: shop\n",
    "unit.log": "3 passed\n",
}


class Project:
    """A folder with a release's files, a store, dev trust and a context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "store").mkdir()
        self.store = open_store((folder / "store").as_uri())
        self.cas, self.ledger = Cas(self.store, TENANT), Ledger(self.store, TENANT)
        self.now = utc.from_seconds(int(datetime.now(UTC).timestamp()))
        self.trust: DevTrust = create_dev_trust(folder / "keys", self.store, TENANT, self.now)
        for name, text in FILES.items():
            (folder / name).write_text(text)
        self.write_context()

    def write_context(self, **changes: Any) -> None:
        facts = {
            "tenant_id": TENANT,
            "development": True,
            "store": (self.folder / "store").as_uri(),
            "trust_root": self.trust.pin,
            **changes,
        }
        lines = ['current = "dev"', "[contexts.dev]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in facts.items()]
        lines += ["[contexts.dev.keys]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in self.trust.keys.items()]
        (self.folder / "lockstep.toml").write_text("\n".join(lines) + "\n")

    def client(self, *words: object) -> int:
        return run(["--config", str(self.folder / "lockstep.toml"), *map(str, words)])

    def pack(self, out: str = "bundle") -> Path:
        path = self.folder / out
        done = self.client("release", "pack", self.folder / "release.yaml", "--out", path)
        assert done == Exit.DONE
        return path

    def approved(self) -> bytes:
        bundle = self.pack()
        assert self.client("release", "certify", bundle) == Exit.DONE
        assert self.client("release", "approve", bundle) == Exit.DONE
        read = read_bundle(bundle)
        assert read.certificate is not None
        return release_hash(sha256(read.manifest), sha256(read.certificate))

    def verify(self, name: bytes) -> TrustReport:
        release = load_release(self.cas, self.ledger, name)
        trust = load_trust(
            self.ledger,
            pinned_root=from_text(self.trust.pin),
            pinned_revocations=pinned_revocations_of(release),
        )
        expected = Expected(
            policy_bundle_hash=sha256(release.evidence["policy_bundle"]),
            profiles=determinism.accepted_profiles(),
            operator_roots=operators.accepted_roots(),
        )
        now = utc.from_seconds(int(datetime.now(UTC).timestamp()))
        return verify_release(release, trust, Rules(tenant_id=TENANT, expected=expected), now=now)

    def objects(self) -> list[str]:
        return [listed.key for listed in self.store.list("") if not listed.key.startswith("trust")]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


# ---- the good way --------------------------------------------------------------------------


def test_pack_certify_approve_load_verify_all_pass(project: Project) -> None:
    name = project.approved()
    report = project.verify(name)
    assert report.outcome == "pass", world.failed(report)
    assert report.release_hash == name
    assert all(row.equal for row in report.equalities)


def test_a_release_in_the_store_is_the_specifications_layout(project: Project) -> None:
    name = project.approved()
    bundle = read_bundle(project.folder / "bundle")
    index = cbor.decode(project.store.read(layout.release(TENANT, name)).body)
    assert index == {
        "manifest_hash": sha256(bundle.manifest),
        "certificate_hash": sha256(bundle.certificate or b""),
    }
    batch = cbor.decode(project.store.read(layout.retention(TENANT, name.hex(), 0)).body)
    assert batch["retention_class"] == "certified_release"
    stored = {from_cas(key) for key in project.objects() if key.startswith("cas/")}
    assert stored == set(batch["digests"])
    kinds = {key.split("/")[0] for key in project.objects()}
    assert kinds == {"cas", "retention", "releases", "approvals"}


def from_cas(key: str) -> bytes:
    *_, first, rest = key.split("/")
    return bytes.fromhex(first + rest)


def test_packing_twice_gives_the_same_bytes(project: Project) -> None:
    assert read_bundle(project.pack("one")) == read_bundle(project.pack("two"))
    assert read_bundle(project.pack("three.tar")) == read_bundle(project.folder / "one")


def test_a_tar_goes_the_whole_way(project: Project) -> None:
    bundle = project.pack("bundle.tar")
    assert project.client("release", "certify", bundle) == Exit.DONE
    assert project.client("release", "approve", bundle) == Exit.DONE
    assert project.client("release", "show", bundle) == Exit.DONE


def test_approving_again_or_by_name_changes_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    name = project.approved()
    before = [(key, project.store.read(key).body) for key in project.objects()]
    capsys.readouterr()
    for text in (name.hex(), f"sha256:{name.hex()}", project.folder / "bundle"):
        assert project.client("release", "approve", text, "--json") == Exit.DONE
        value = json.loads(capsys.readouterr().out)
        assert value["schema_version"] == "lockstep.approved.v1"
        assert value["changed"] is False
        assert value["release_hash"] == f"sha256:{name.hex()}"
    assert [(key, project.store.read(key).body) for key in project.objects()] == before


def test_show_tells_what_a_release_holds_and_whether_it_verifies(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = project.pack()
    capsys.readouterr()
    assert project.client("release", "show", bundle, "--json") == Exit.DONE
    assert json.loads(capsys.readouterr().out)["outcome"] == "not certified"
    assert project.client("release", "certify", bundle) == Exit.DONE
    capsys.readouterr()
    assert project.client("release", "show", bundle, "--json") == Exit.DONE
    assert json.loads(capsys.readouterr().out)["outcome"] == "fail"  # nobody approved it
    assert project.client("release", "approve", bundle) == Exit.DONE
    capsys.readouterr()
    assert project.client("release", "show", bundle) == Exit.DONE
    assert "outcome: pass" in capsys.readouterr().out


# ---- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "exit_code", "told"),
    [
        ("release.yaml", RELEASE_YAML.replace("1.2.3", "one"), 2, "release.yaml:2"),
        ("release.yaml", RELEASE_YAML + "colour: red\n", 2, "colour"),
        ("release.yaml", RELEASE_YAML + "service: till\n", 2, "duplicate key"),
        ("release.yaml", RELEASE_YAML.replace("path: service.py", "path: no.py"), 2, "no.py"),
        ("release.yaml", RELEASE_YAML.replace("service: shop", "service: till"), 2, "policy"),
        ("release.yaml", RELEASE_YAML + "checkpoint: unit.log\n", 2, "checkpoint"),
        ("policy.yaml", FILES["policy.yaml"] + "on_failure: hope\n", 2, "policy.yaml:3"),
        ("toolchain.yaml", "python_version: 3.11.7\n", 2, "toolchain.yaml"),
        ("env.yaml", "LANG: C.UTF-8\n", 2, "env.yaml:1"),
        ("requirements.lock", "click==8.5.1\n", 8, "line 1"),
        ("sbom.json", "{}", 8, "sbom"),
    ],
)
def test_a_broken_input_is_named_and_leaves_no_bundle(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    file: str,
    text: str,
    exit_code: int,
    told: str,
) -> None:
    (project.folder / file).write_text(text)
    out = project.folder / "bundle"
    done = project.client("release", "pack", project.folder / "release.yaml", "--out", out)
    assert done == exit_code
    assert told in error_of(capsys)
    assert not out.exists()


def test_a_failed_qualification_is_packed_and_never_certified(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.folder / "release.yaml").write_text(RELEASE_YAML.replace("success", "failed"))
    bundle = project.pack()
    assert project.client("release", "certify", bundle) == Exit.EVIDENCE_REFUSED
    assert "did not succeed" in error_of(capsys)
    assert read_bundle(bundle).certificate is None


def test_another_tenants_bundle_is_not_certified(project: Project) -> None:
    yaml, out = project.folder / "release.yaml", project.folder / "bundle"
    assert project.client("release", "pack", yaml, "--out", out, "--tenant", "other") == Exit.DONE
    assert project.client("release", "certify", out) == Exit.EVIDENCE_REFUSED


def test_a_key_that_the_root_does_not_know_certifies_nothing(project: Project) -> None:
    stranger = project.folder / "stranger.json"
    key = generate_key("release-certificate", now=project.now, days=5, origin="a test")
    write_key_file(stranger, key)
    bundle = project.pack()
    done = project.client("release", "certify", bundle, "--key", f"file:{stranger}")
    assert done == Exit.EVIDENCE_REFUSED
    assert read_bundle(bundle).certificate is None


@pytest.mark.parametrize("reference", ["", "bogus", "file:", "https://x"])
def test_a_key_that_is_no_reference_is_a_usage_error(project: Project, reference: str) -> None:
    bundle = project.pack()
    assert project.client("release", "certify", bundle, "--key", reference) == Exit.USAGE
    assert read_bundle(bundle).certificate is None


def test_without_an_approval_there_is_one_finding(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = project.pack()
    assert project.client("release", "certify", bundle) == Exit.DONE
    capsys.readouterr()
    assert project.client("verify", bundle, "--json") == Exit.EVIDENCE_REFUSED
    checks = json.loads(capsys.readouterr().out)["checks"]
    findings = [one["code"] for one in checks if one["outcome"] == "finding"]
    assert findings == ["APPROVAL_MISSING"]
    left = [one["name"] for one in checks if one["outcome"] == "not_run"]
    assert left == [
        "release/equalities",
        "release/equality trace_root_hash",
        "release/equality checkpoint_hash",
        "release/equality lineage_root_hash",
    ]


def test_a_context_with_another_pin_certifies_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = project.pack()
    project.write_context(trust_root="sha256:" + "0" * 64)
    assert project.client("release", "certify", bundle) == Exit.EVIDENCE_REFUSED
    assert "TRUST_ROOT_INVALID" in error_of(capsys)


def test_an_uncertified_bundle_is_not_approved_and_nothing_is_stored(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = project.pack()
    assert project.client("release", "approve", bundle) == Exit.USAGE
    assert "client release certify" in error_of(capsys)
    assert project.objects() == []


def test_the_signer_may_not_approve(project: Project) -> None:
    bundle = project.pack()
    assert project.client("release", "certify", bundle) == Exit.DONE
    signer = project.trust.keys["release-certificate"]
    done = project.client("release", "approve", bundle, "--key", signer)
    assert done == Exit.EVIDENCE_REFUSED
    assert project.objects() == []


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("evidence/lockfile", "EVIDENCE_INVALID"),
        ("lineage.cbor", "LINEAGE_INVALID"),
        ("checkpoint.cbor", "EVIDENCE_INVALID"),
        ("artifacts/service.py", "RELEASE_INVALID"),
    ],
)
def test_a_bundle_changed_after_certifying_is_not_approved_and_nothing_is_stored(
    project: Project, capsys: pytest.CaptureFixture[str], file: str, code: str
) -> None:
    bundle = project.pack()
    assert project.client("release", "certify", bundle) == Exit.DONE
    changed = bundle / file
    lock = b"b==2 --hash=sha256:" + b"b" * 64 + b"\n"
    changed.write_bytes(lock if file.endswith("lockfile") else b"\x00")
    assert project.client("release", "approve", bundle) != Exit.DONE
    assert code in error_of(capsys)
    assert project.objects() == []


def test_a_forged_claim_under_a_good_signature_is_not_approved(project: Project) -> None:
    path = project.pack()
    assert project.client("release", "certify", path) == Exit.DONE
    bundle = read_bundle(path)
    payload, _ = read_certificate(bundle.certificate)
    key: SigningKey = resolve_key(project.trust.keys["release-certificate"], development=True)
    forged = sign_certificate({**payload, "sbom_hash": bytes(32)}, key.private_key)
    write_certificate(path, bundle, forged)
    assert project.client("release", "approve", path) == Exit.EVIDENCE_REFUSED
    assert project.objects() == []


def test_a_release_that_is_not_in_the_store_is_named(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.client("release", "show", "0" * 64) == Exit.EVIDENCE_REFUSED
    assert "OBJECT_MISSING" in error_of(capsys)


def cas_path(project: Project, digest: bytes) -> Path:
    return project.folder / "store" / layout.cas(TENANT, digest)


@pytest.mark.parametrize("part", ["manifest", "certificate", "trace", "checkpoint", "lineage"])
def test_a_lost_or_changed_object_is_found_when_loading(project: Project, part: str) -> None:
    name = project.approved()
    digest = sha256(getattr(read_bundle(project.folder / "bundle"), part))
    path = cas_path(project, digest)
    body = path.read_bytes()
    for code, change in (
        ("OBJECT_CORRUPT", lambda: path.write_bytes(body[:-1] + b"\x00")),
        ("OBJECT_MISSING", path.unlink),
    ):
        path.chmod(0o644)
        change()
        with pytest.raises(DataError) as refused:
            load_release(project.cas, project.ledger, name)
        assert refused.value.code == code
    # Uploading the same bundle again heals what was lost.
    assert project.client("release", "approve", project.folder / "bundle") == Exit.DONE
    assert project.verify(name).outcome == "pass"


# ---- keys ----------------------------------------------------------------------------------


def test_keys_generate_writes_a_key_that_signs(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    out = project.folder / "new.json"
    words = ("keys", "generate", "--purpose", "approval", "--out", out, "--days", "10", "--json")
    assert project.client(*words) == Exit.DONE
    said = capsys.readouterr()
    value = json.loads(said.out)
    key = resolve_key(value["reference"], development=True, purpose="approval")
    assert value["key_id"] == key.key_id
    assert value["not_after"] == utc.plus_days(value["not_before"], 10)
    assert key.private_key.hex() not in said.out + said.err
    assert project.client(*words) == Exit.USAGE
    assert resolve_key(value["reference"], development=True) == key


def test_keys_generate_knows_its_purposes(project: Project) -> None:
    out = project.folder / "new.json"
    assert project.client("keys", "generate", "--purpose", "all", "--out", out) == Exit.USAGE
    assert not out.exists()


def test_keys_list_shows_roles_state_and_what_is_at_hand(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(project.trust.keys["step-grant"].removeprefix("file:")).unlink()
    assert project.client("keys", "list", "--json") == Exit.DONE
    value = json.loads(capsys.readouterr().out)
    rows = {row["purpose"]: row for row in value["keys"]}
    assert rows["operator"]["roles"] == ["operator", "starter"]
    assert {row["state"] for row in rows.values()} == {"in force"}
    assert rows["approval"]["reference"] == project.trust.keys["approval"]
    assert rows["step-grant"]["reference"] is None
