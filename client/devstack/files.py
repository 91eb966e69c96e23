"""The files of a stack that people may read: context, policy, profile. Each ``up`` writes them."""

import json
import os
from pathlib import Path

from client.devstack.state import (
    CONTEXT,
    ENVIRONMENTS,
    NAMESPACE,
    SERVICE,
    TENANT,
    Stack,
)

LOAD_PER_S = 420
BAKE_S = 6
# 420 a second for 6 s are 25 canary requests at 1 %: strict-v1 on fewer than 20 would be luck, and
# two of them would have to be late by 48 ms at once to lift the p95 out of its bucket.
LEASE_S = 60

POLICY_FILE = "policy.yaml"
PROFILE_FILE = "profile.yaml"
SETTINGS_FILE = "lockstep.toml"

_POLICY = f"""\
# What must be true before a release grows. Written by client dev up; edit a copy.
schema_version: lockstep.policy.v1
service: {SERVICE}
cohorts: [1, 5, 25, 50, 100]
gate:
  profile: strict-v1
on_failure: rollback
"""

_ENVIRONMENT = """\
  - name: {name}
    bake_s: {bake_s}
    lease_s: {lease_s}
    targets:
      - name: proxy
        kind: demo
        settings: {{admin_url: "{admin_url}"}}
    sources:
      - name: proxy
        kind: openmetrics
        settings: {{url: "{metrics_url}"}}
"""


def policy_text() -> str:
    return _POLICY


def profile_text(stack: Stack) -> str:
    """The ordered environments; the last one is production by default."""
    text = (
        "# Where and how releases are carried. Written by client dev up; edit a copy.\n"
        "schema_version: lockstep.environment-profile.v1\nenvironments:\n"
    )
    for name in ENVIRONMENTS:
        text += _ENVIRONMENT.format(
            name=name,
            bake_s=BAKE_S,
            lease_s=LEASE_S,
            admin_url=stack.admin_url(name),
            metrics_url=stack.metrics_url(name),
        )
    return text


def settings_text(stack: Stack, trust_root: str, keys: dict[str, str]) -> str:
    """``lockstep.toml`` with the one context of the stack; a secret only as a reference."""
    fields = {
        "tenant_id": TENANT,
        "namespace": NAMESPACE,
        "temporal_address": stack.temporal_address,
        "ui_url": stack.ui_url,
        "store": stack.store_url,
        "development": True,
        "policy": POLICY_FILE,
        "profile": PROFILE_FILE,
        "trust_root": trust_root,
    }
    lines = ["# The embedded stack. Written by client dev up.", f"current = {_toml(CONTEXT)}", ""]
    lines.append(f"[contexts.{CONTEXT}]")
    lines += [f"{name} = {_toml(value)}" for name, value in fields.items()]
    lines += ["", f"[contexts.{CONTEXT}.keys]"]
    lines += [f"{name} = {_toml(reference)}" for name, reference in keys.items()]
    return "\n".join(lines) + "\n"


def _toml(value: str | bool) -> str:
    """A TOML value: JSON's text and booleans are TOML's as well."""
    return json.dumps(value, ensure_ascii=False)


def write_whole(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` so that no reader ever sees half of it."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    os.replace(fresh, path)
