"""``client gate evaluate``, ``client explain`` and ``client init``, run as a user runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from gate_samples import policy, side, snapshot_map

from activities.adapters.store import open_store
from activities.adapters.store.cas import Cas
from client.files import read_policy, read_profile
from client.main import run
from lockstep import cbor
from lockstep.digest import to_text
from lockstep.gates.evaluate import evaluate_bytes
from lockstep.gates.snapshot import Snapshot
from lockstep.plan import resolve_plan
from lockstep.policy import Policy, resolve_policy

Ran = tuple[int, str, str]
Client = Callable[..., Ran]

GOOD = cbor.encode(snapshot_map())
BAD = cbor.encode(snapshot_map(canary=side(1000, 60)))


@pytest.fixture
def client(capsys: pytest.CaptureFixture[str]) -> Client:
    def call(*words: str | Path) -> Ran:
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text("schema_version: lockstep.policy.v1\nservice: web\n", encoding="utf-8")
    return path


def twin(data: bytes) -> str:
    return json.dumps(Snapshot.from_bytes(data).to_json())


# ---- gate evaluate --------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "code", "outcome"), [(GOOD, 0, "PASS"), (BAD, 4, "FAIL")])
@pytest.mark.parametrize("form", ["cbor", "json"])
def test_the_exit_code_is_the_outcome(
    client: Client, rules: Path, tmp_path: Path, data: bytes, code: int, outcome: str, form: str
) -> None:
    file = tmp_path / "snapshot"
    file.write_bytes(data if form == "cbor" else twin(data).encode())
    got, out, _ = client("gate", "evaluate", "--snapshot", file, "--policy", rules, "--json")
    printed = json.loads(out)
    assert (got, printed["outcome"]) == (code, outcome)
    report = evaluate_bytes(data, policy(), policy().digest())
    assert printed == report.to_json()


def test_people_get_sentences(client: Client, rules: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.cbor"
    file.write_bytes(BAD)
    code, out, _ = client("gate", "evaluate", "--snapshot", file, "--policy", rules)
    assert code == 4
    assert out.startswith("FAIL by strict-v1: because of error_rate.\n")


def test_nan_fails_with_its_reason_and_no_traceback(
    client: Client, rules: Path, tmp_path: Path
) -> None:
    file = tmp_path / "s.json"
    file.write_text(twin(GOOD).replace('"errors": 5', '"errors": NaN'), encoding="utf-8")
    code, out, _ = client("gate", "evaluate", "--snapshot", file, "--policy", rules, "--json")
    assert code == 4
    assert json.loads(out)["metrics"][0]["reason"] == "NOT_A_NUMBER"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xa0", GOOD[:-1], b"nonsense", b"\xff" * 9])
def test_an_unreadable_snapshot_is_exit_2(
    client: Client, rules: Path, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "s"
    file.write_bytes(content)
    code, out, err = client("gate", "evaluate", "--snapshot", file, "--policy", rules, "--json")
    assert (code, out) == (2, "")
    assert json.loads(err)["place"].startswith(str(file))


def test_an_absent_file_and_a_broken_policy_are_exit_2(
    client: Client, rules: Path, tmp_path: Path
) -> None:
    assert client("gate", "evaluate", "--snapshot", "gone", "--policy", rules)[0] == 2
    file = tmp_path / "s.cbor"
    file.write_bytes(GOOD)
    rules.write_text("schema_version: lockstep.policy.v1\nservice: web\nguards: [1]\n")
    code, out, err = client("gate", "evaluate", "--snapshot", file, "--policy", rules)
    assert (code, out) == (2, "")
    assert f"{rules}:3" in err
    assert "not built in this version" in err


def test_one_of_file_and_folder_is_needed(client: Client, rules: Path, tmp_path: Path) -> None:
    assert client("gate", "evaluate", "--policy", rules)[0] == 2
    both = ("--snapshot", rules, "--snapshots", tmp_path)
    assert client("gate", "evaluate", *both, "--policy", rules)[0] == 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "snapshots"
    (path / "more").mkdir(parents=True)
    (path / "b.cbor").write_bytes(BAD)
    (path / "a.json").write_text(twin(GOOD), encoding="utf-8")
    (path / "c.txt").write_text("nonsense", encoding="utf-8")
    (path / "more" / "d.cbor").write_bytes(GOOD)
    return path


def test_a_folder_gives_one_line_a_file_and_exit_0(
    client: Client, rules: Path, folder: Path
) -> None:
    words = ("gate", "evaluate", "--snapshots", folder, "--policy", rules, "--output", "jsonl")
    code, out, _ = client(*words)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["file"] for line in lines] == ["a.json", "b.cbor", "c.txt", "more/d.cbor"]
    assert [line.get("outcome") for line in lines] == ["PASS", "FAIL", None, "PASS"]
    assert lines[2]["error"]["code"] == "DOCUMENT_INVALID"
    assert lines[2]["error"]["cause"]
    schemas = ["lockstep.gate-report.v1"] * 4
    schemas[2] = "lockstep.gate-error.v1"
    assert [line["schema_version"] for line in lines] == schemas


def test_a_folder_for_people_and_as_one_document(client: Client, rules: Path, folder: Path) -> None:
    words = ("gate", "evaluate", "--snapshots", folder, "--policy", rules)
    _, out, _ = client(*words)
    assert "FAIL          b.cbor  error_rate THRESHOLD_BREACHED" in out.splitlines()
    _, out, _ = client(*words, "--json")
    document = json.loads(out)
    assert document["schema_version"] == "lockstep.gate-results.v1"
    assert len(document["results"]) == 4


# ---- explain --------------------------------------------------------------------------------


REPORT = evaluate_bytes(BAD, policy(), policy().digest())


@pytest.mark.parametrize("form", ["cbor", "json"])
def test_a_report_file_is_explained(client: Client, tmp_path: Path, form: str) -> None:
    file = tmp_path / "report"
    file.write_bytes(REPORT.to_bytes() if form == "cbor" else json.dumps(REPORT.to_json()).encode())
    code, out, _ = client("explain", file)
    assert code == 0
    assert out.startswith("FAIL by strict-v1: because of error_rate.")


@pytest.fixture
def cas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cas:
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("LOCKSTEP_CONFIG", "LOCKSTEP_STORE", "LOCKSTEP_TENANT"):
        monkeypatch.delenv(name, raising=False)
    text = 'current = "t"\n[contexts.t]\ntenant_id = "demo"\nstore = "store"\n'
    (tmp_path / "lockstep.toml").write_text(text, encoding="utf-8")
    return Cas(open_store(f"file://{tmp_path}/store"), "demo")


def test_a_digest_is_explained_from_the_store(client: Client, cas: Cas) -> None:
    digest = cas.put(REPORT.to_bytes())
    code, out, _ = client("explain", to_text(digest))
    assert code == 0
    assert "prod at 25 %" not in out, "the snapshot is not there to tell"
    cas.put(BAD)
    code, out, _ = client("explain", digest.hex(), "--json")
    value = json.loads(out)
    assert (code, value["schema_version"]) == (0, "lockstep.explanation.v1")
    assert value["report"]["verdict_hash"] == to_text(digest)
    assert any("prod at 25 %" in sentence for sentence in value["sentences"])


def test_a_digest_that_is_not_there_is_exit_8(client: Client, cas: Cas) -> None:
    code, _, err = client("explain", "sha256:" + "00" * 32)
    assert code == 8
    assert "OBJECT_MISSING" in err


def test_a_stored_object_that_is_no_report_is_exit_2(client: Client, cas: Cas) -> None:
    assert client("explain", to_text(cas.put(BAD)))[0] == 2


@pytest.mark.parametrize("words", ["gone.json", "sha256:xyz", "../x"])
def test_what_is_neither_file_nor_digest_is_exit_2(client: Client, cas: Cas, words: str) -> None:
    code, _, err = client("explain", words)
    assert code == 2
    assert "neither a file nor a digest" in err


def test_each_vector_is_a_row_with_its_schema(client: Client) -> None:
    vectors = Path(__file__).parents[1] / "vectors" / "wal.json"
    code, out, _ = client("conformance", "run", vectors, "--output", "jsonl")
    assert code == 0
    schemas = {json.loads(line)["schema_version"] for line in out.splitlines()}
    assert schemas == {"lockstep.conformance-row.v1"}


def test_another_service_than_the_policys_is_not_adopted(client: Client, cas: Cas) -> None:
    assert client("init", "--service", "web")[0] == 0
    pinned = ("--policy", "policy.yaml", "--profile", "profile.yaml")
    code, _, err = client("adopt", "till", "--env", "dev", *pinned, "--json")
    assert code == 2
    assert "the policy is for service web" in json.loads(err)["cause"]


@pytest.mark.parametrize("words", ["", " ", "x" * 5000])
@pytest.mark.parametrize("command", ["explain", "verify"])
def test_an_argument_that_can_be_no_name_is_exit_2(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "lockstep.toml").write_text(
        'current = "dev"\n[contexts.dev]\ntenant_id = "demo"\n'
        f'store = "{(tmp_path / "store").as_uri()}"\n'
    )
    code, out, err = client(command, "--json", words)
    assert (code, out) == (2, "")
    assert json.loads(err)["code"] == "USAGE"


# ---- init -----------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["service", "full"])
def test_both_templates_are_short_valid_and_the_defaults(
    client: Client, tmp_path: Path, template: str
) -> None:
    code, out, _ = client(
        "init", "--template", template, "--dir", tmp_path, "--service", "web", "--json"
    )
    assert code == 0
    files = [Path(name) for name in json.loads(out)["files"]]
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 40
        assert max(map(len, lines)) <= 100
    found = read_policy(files[0])
    least = {"schema_version": "lockstep.policy.v1", "service": "web"}
    assert found.to_bytes() == resolve_policy(least).to_bytes()
    plans = resolve_plan(found, read_profile(files[1]))
    assert [plan.name for plan in plans] == ["dev", "staging", "prod"]
    assert [plan.bake_s for plan in plans] == [600, 600, 600]


def _fields(model: type) -> set[str]:
    return set(model.model_fields)


@pytest.mark.parametrize("template", ["service", "full"])
def test_every_field_with_a_default_stands_in_the_templates(
    client: Client, tmp_path: Path, template: str
) -> None:
    from lockstep.policy import Evidence, Gate, ProductionApprovals
    from lockstep.profile import EnvironmentSpec, SourceSpec, TargetSpec

    client("init", "--template", template, "--dir", tmp_path)
    policy_text = (tmp_path / "policy.yaml").read_text(encoding="utf-8")
    for model in (Policy, Gate, ProductionApprovals, Evidence):
        for name in _fields(model) - {"shadow"}:
            assert f"{name}:" in policy_text, name
    profile_text = (tmp_path / "profile.yaml").read_text(encoding="utf-8")
    for model in (EnvironmentSpec, TargetSpec, SourceSpec):
        for name in _fields(model):
            assert name in profile_text, name


def _uncommented(text: str) -> str:
    """The template with its commented settings switched on."""
    lines = []
    for line in text.splitlines():
        bare = line.lstrip()
        if (
            bare.startswith("# ")
            and bare[2:].split(":")[0].replace("_", "").isalnum()
            and ": " in bare
        ):
            line = line.replace("# ", "", 1)
        lines.append(line)
    return "\n".join(lines)


def test_the_commented_defaults_are_the_real_ones(client: Client, tmp_path: Path) -> None:
    client("init", "--dir", tmp_path, "--service", "web")
    text = _uncommented((tmp_path / "policy.yaml").read_text(encoding="utf-8"))
    (tmp_path / "on.yaml").write_text(text, encoding="utf-8")
    found = read_policy(tmp_path / "on.yaml").to_map()
    assert found.pop("extend_s") == 600
    assert found["gate"].pop("absolute_p95_max_us") == 250_000
    least = {"schema_version": "lockstep.policy.v1", "service": "web"}
    assert found == resolve_policy(least).to_map()


def test_nothing_is_replaced_without_force(client: Client, tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text("mine", encoding="utf-8")
    code, _, err = client("init", "--dir", tmp_path)
    assert code == 2
    assert "--force" in err
    assert (tmp_path / "profile.yaml").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "policy.yaml").exists(), "both files or none"
    assert client("init", "--dir", tmp_path, "--force")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.yaml", "profile.yaml"]


@pytest.mark.parametrize("service", ["../x", "", "a b", "x: y", "-x"])
def test_a_name_that_is_no_service_is_refused(client: Client, tmp_path: Path, service: str) -> None:
    assert client("init", "--dir", tmp_path / "new", f"--service={service}")[0] == 2
    assert not (tmp_path / "new").exists()


def test_the_service_is_named_after_the_folder(client: Client, tmp_path: Path) -> None:
    client("init", "--dir", tmp_path / "my shop!")
    assert read_policy(tmp_path / "my shop!" / "policy.yaml").service == "my-shop"


def test_a_folder_that_cannot_be_written_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    code, _, err = client("init", "--dir", tmp_path / "file" / "below")
    assert code == 2
    assert "cannot write" in err
