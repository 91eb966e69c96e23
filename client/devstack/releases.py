"""Releases of the demo service, with everything ``client release pack`` asks for, from real parts.

Nothing in them is invented: the service is the file that will run, the lock is the one this
program was installed from, toolchain and environment are read off this interpreter, and the steps
of the qualification have been run (``client.devstack.qualification``). The same arguments on the
same machine give the same bytes: no time, no path and no port stands in them.
"""

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from client.devstack.qualification import Checked, qualify
from client.devstack.state import ENVIRONMENTS, SERVICE
from lockstep.digest import sha256, to_text
from lockstep.errors import DataError

RELEASE_FILE = "release.yaml"


def make_demo_release(
    folder: Path,
    version: str,
    *,
    policy_path: Path,
    latency_ms: int | None = None,
    error_permille: int | None = None,
    faulty_in: Sequence[str] | None = None,
) -> Path:
    """Write a release folder for ``client release pack``; returns its ``release.yaml``.

    ``latency_ms`` and ``error_permille`` are the service's (``infra.demo.service``), in
    ``faulty_in`` only where that is given.

    Raises:
        DataError: RELEASE_INVALID; something stands at ``folder``, or the policy is unreadable.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError("RELEASE_INVALID", "exists and is not replaced", place=str(folder))
    write_service(
        folder, version, latency_ms=latency_ms, error_permille=error_permille, faulty_in=faulty_in
    )
    evidence = folder / "evidence"
    evidence.mkdir()
    lock = _demo_file("requirements.lock").read_bytes()
    (evidence / "requirements.lock").write_bytes(lock)
    _write(evidence / "toolchain.json", _toolchain())
    _write(evidence / "runtime_env.json", _runtime_env())
    _write(evidence / "sbom.json", _sbom(folder, version, lock))
    try:
        shutil.copyfile(policy_path, evidence / "policy.yaml")
    except OSError as error:
        raise DataError(
            "RELEASE_INVALID",
            f"the policy cannot be read: {error.strerror}",
            place=str(policy_path),
        ) from None
    steps = qualify(folder, ENVIRONMENTS)
    for step in steps:
        _write(evidence / f"{step.name}.json", {"status": step.status, **step.record})
    # JSON is YAML too, and what a program writes nobody needs to edit.
    _write(folder / RELEASE_FILE, _document(folder, version, steps))
    return folder / RELEASE_FILE


def write_service(
    folder: Path,
    version: str,
    *,
    latency_ms: int | None = None,
    error_permille: int | None = None,
    faulty_in: Sequence[str] | None = None,
) -> None:
    """``artifacts/service.py`` and ``configs/config.json`` of one version of the demo service."""
    config: dict[str, object] = {"version": version}
    if latency_ms is not None:
        config["latency_ms"] = latency_ms
    if error_permille is not None:
        config["error_permille"] = error_permille
    if faulty_in is not None:
        config["faulty_in"] = list(faulty_in)
    for name in ("artifacts", "configs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_demo_file("service.py"), folder / "artifacts" / "service.py")
    _write(folder / "configs" / "config.json", config)


def _demo_file(name: str) -> Path:
    """A file of the ``infra.demo`` package; found, not imported: it needs aiohttp to run."""
    spec = find_spec("infra.demo")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("STACK_STATE", "infra.demo is not installed", hint="install the package")
    return Path(spec.submodule_search_locations[0]) / name


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def _document(folder: Path, version: str, steps: Sequence[Checked]) -> dict[str, Any]:
    return {
        "schema_version": "lockstep.release.v1",
        "service": SERVICE,
        "version": version,
        # The demo has no repository of its own; its one source file names its revision.
        "code_commit": _digest(folder / "artifacts" / "service.py"),
        "artifacts": [
            {
                "name": "service.py",
                "path": "artifacts/service.py",
                "media_type": "text/x-python",
            }
        ],
        "configs": [{"name": "config.json", "path": "configs/config.json"}],
        "evidence": {
            "lockfile": "evidence/requirements.lock",
            "toolchain": "evidence/toolchain.json",
            "runtime_env": "evidence/runtime_env.json",
            "sbom": "evidence/sbom.json",
            "policy": "evidence/policy.yaml",
        },
        "qualification": {
            "steps": [
                {
                    "name": step.name,
                    "status": step.status,
                    "evidence": f"evidence/{step.name}.json",
                }
                for step in steps
            ]
        },
    }


def _digest(path: Path) -> str:
    return to_text(sha256(path.read_bytes()))


def _toolchain() -> dict[str, str]:
    """What built and installed this interpreter's packages, as they say of themselves."""
    pip = _version_of("pip")
    installer = (metadata.distribution("aiohttp").read_text("INSTALLER") or "unknown").strip()
    return {
        "schema_version": "lockstep.toolchain.v1",
        "python_version": platform.python_version(),
        "pip_version": pip,
        "installer_version": f"{installer} {_version_of(installer)}",
    }


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _runtime_env() -> dict[str, Any]:
    libc, libc_version = platform.libc_ver()
    return {
        "schema_version": "lockstep.runtime-env.v1",
        "variables": {
            "implementation": platform.python_implementation(),
            "libc": f"{libc} {libc_version}".strip() or "unknown",
            "machine": platform.machine(),
            "python": platform.python_version(),
            "system": platform.system(),
        },
    }


def _sbom(folder: Path, version: str, lock: bytes) -> dict[str, Any]:
    """CycloneDX of the service: itself, and every package of its lock."""
    from lockstep.release.locks import parse_requirements

    service = sha256((folder / "artifacts" / "service.py").read_bytes()).hex()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": SERVICE,
                "name": SERVICE,
                "version": version,
                "hashes": [{"alg": "SHA-256", "content": service}],
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{name}@{number}",
                "name": name,
                "version": number,
                "purl": f"pkg:pypi/{name}@{number}",
            }
            for name, number, _, _ in parse_requirements(lock)
        ],
    }
