"""``client init``: a policy and an environment profile to start from, every default in sight."""

import re
from pathlib import Path

import click

from client.output import emit, output_option, say
from lockstep.errors import RefusedError

SCHEMA_VERSION = "lockstep.init.v1"
SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

_POLICY_HEAD = """\
# What must be true before a release may grow. Reference: docs/reference/policy.md
# The release certificate binds the digest of the resolved policy; comments do not count.
schema_version: lockstep.policy.v1
service: @
"""

_POLICY_SERVICE = """\
cohorts: [1, 5, 25, 50, 100]   # percent; or per environment {default: [...], dev: [100]}
bake_min_s: {}                 # least bake per environment, such as {prod: 600}
gate:
  profile: strict-v1           # fixed limits, PASS or FAIL
  # error_rate_max: 0.005                  # errors / requests; strict-v1 allows no other limit
  # p95_latency_delta_max_percent: 10.0    # growth of p95 over the baseline
  # replay_failures_max: 0
  # level: 0.95                            # for interval-v1, which is not built yet, as are
  # min_requests: 100                      # min_requests, shadow and custom
  # custom: []
  # absolute_p95_max_us: 250000            # optional; a first release needs it
first_release: refuse          # or allow, for a service that serves nobody yet
on_failure: rollback           # or hold: stay and wait for a person
on_inconclusive: ask           # or rollback
# The rest shows its default; take the mark away to change it.
# inconclusive_max_s: 3600     # how long missing evidence is waited for
# extend_s: 600                # time between looks; the default is the bake
# rollback_max_s: 600          # a rollback refused for longer is an incident
# keep_warm_s: 1800            # the old side keeps its capacity this long after commit
# lower_environments: restore  # or keep: what dev and staging do when prod fails
# concurrency: queue           # or refuse: a second rollout on a busy environment
# approvals: {production: {required: 1, separation_of_duty: true}}
# evidence: {certificate_max_age_d: 90, allow: []}
# guards: []                   # guards, checks, retention and plans are not built yet
# checks: []
# retention: {}
# plans: {}
"""

_POLICY_FULL = """\
cohorts: {default: [1, 5, 25, 50, 100]}    # percent; one list, or one per environment
bake_min_s: {}                             # least bake per environment, such as {prod: 600}
gate:
  profile: strict-v1                       # fixed limits, PASS or FAIL
  error_rate_max: 0.005                    # errors / requests
  p95_latency_delta_max_percent: 10.0      # growth of p95 over the baseline
  replay_failures_max: 0                   # earlier verdicts that no longer recompute
  level: 0.95                              # level and min_requests are for interval-v1,
  min_requests: 100                        # which is not built yet
  # absolute_p95_max_us: 250000            # optional; a first release needs it
  custom: []                               # not built yet
guards: []                                 # not built yet
checks: []                                 # not built yet
on_failure: rollback                       # or hold: stay and wait for a person
on_inconclusive: ask                       # or rollback
inconclusive_max_s: 3600                   # how long missing evidence is waited for
# extend_s: 600                            # time between looks; the default is the bake
rollback_max_s: 600                        # a rollback refused for longer is an incident
keep_warm_s: 1800                          # the old side keeps its capacity after commit
lower_environments: restore                # or keep: dev and staging when prod fails
first_release: refuse                      # or allow, for a service that serves nobody yet
concurrency: queue                         # or refuse: a rollout on a busy environment
approvals:
  production: {required: 1, separation_of_duty: true}
evidence: {certificate_max_age_d: 90, allow: []}
retention: {}                              # not built yet
plans: {}                                  # not built yet
"""

_PROFILE_HEAD = """\
# Environments in the order a release passes them. Reference: docs/reference/policy.md
# Put your own addresses here; those of the embedded stack are in `client dev status`.
schema_version: lockstep.environment-profile.v1
environments:
"""

_PROFILE_FIRST = """\
  - name: dev
    bake_s: 600                      # at each cohort; at least the policy's bake_min_s
    targets:                         # what moves traffic; exactly one in this version
      - {name: main, kind: demo, settings: {admin_url: "http://127.0.0.1:7801"}}
    sources:                         # where metrics come from; exactly one in this version
      - {name: main, kind: openmetrics, settings: {url: "http://127.0.0.1:7901/metrics"}}
    # Each environment has these too, shown with their defaults:
    # production: false              # true for the last environment, and only there
    # task_queue: lockstep-dev       # lockstep-NAME
    # windows: []                    # not built yet, nor is dead_man_s
    # max_parallel: 1
    # lease_s: 120
    # progress_deadline_s: 600       # for instances to come up
    # source_max_s: 300              # an unreachable source is asked again for this long
    # max_skew_s: 5                  # clocks further apart stop progress
    # A target has wave: 1; a source has settle_s: 0 (left out after a shift) and
    # ingest_delay_s: 0 (waited for before asking).
"""

_PROFILE_NEXT = """\
  - name: {name}
    bake_s: 600
    targets:
      - {{name: main, kind: demo, settings: {{admin_url: "http://127.0.0.1:780{n}"}}}}
    sources:
      - {{name: main, kind: openmetrics, settings: {{url: "http://127.0.0.1:790{n}/metrics"}}}}
"""

_PROFILE_FULL = """\
  - {{name: {name}, production: {production}, task_queue: lockstep-{name}, bake_s: 600,
     windows: [], max_parallel: 1, lease_s: 120, progress_deadline_s: 600,
     source_max_s: 300, max_skew_s: 5,
     targets: [{{name: main, kind: demo, wave: 1,
       settings: {{admin_url: "http://127.0.0.1:780{n}"}}}}],
     sources: [{{name: main, kind: openmetrics, settle_s: 0, ingest_delay_s: 0,
       settings: {{url: "http://127.0.0.1:790{n}/metrics"}}}}]}}
"""

_PROFILE_FULL_NOTES = """\
# bake_s: at each cohort, at least the policy's bake_min_s. production: the last, and only it.
# targets move traffic, sources say how it goes; exactly one of each in this version.
# settle_s is left out after a shift, ingest_delay_s is waited for before asking.
# progress_deadline_s: for instances to come up. source_max_s: how long an unreachable source is
# asked again. max_skew_s: clocks further apart stop progress.
# windows and dead_man_s are not built yet.
"""

ENVIRONMENTS = ("dev", "staging", "prod")


def render_policy(template: str, service: str) -> str:
    """The text of policy.yaml, at most 40 lines."""
    body = _POLICY_FULL if template == "full" else _POLICY_SERVICE
    return _POLICY_HEAD.replace("@", service) + body


def render_profile(template: str) -> str:
    """The text of profile.yaml, at most 40 lines."""
    text = _PROFILE_HEAD
    rows = list(enumerate(ENVIRONMENTS, start=1))
    if template == "full":
        text = _PROFILE_FULL_NOTES + text
        for n, name in rows:
            production = "true" if name == ENVIRONMENTS[-1] else "false"
            text += _PROFILE_FULL.format(name=name, n=n, production=production)
        return text
    text += _PROFILE_FIRST
    for n, name in rows[1:]:
        text += _PROFILE_NEXT.format(name=name, n=n)
    return text


@click.command()
@click.option(
    "--template",
    type=click.Choice(["service", "full"]),
    default="service",
    show_default=True,
    help="service: short, defaults as comments; full: all written.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    help="Where to write (default: here).",
)
@click.option("--service", help="The service's name (default: the folder's).")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@output_option
def init(template: str, folder: Path, service: str | None, force: bool, output: str) -> None:
    """Write a commented policy and environment profile."""
    name = _service(service, folder)
    texts = {
        folder / "policy.yaml": render_policy(template, name),
        folder / "profile.yaml": render_profile(template),
    }
    there = [str(path) for path in texts if path.exists() or path.is_symlink()]
    if there and not force:
        raise RefusedError(
            "USAGE", f"{' and '.join(there)} would be replaced", hint="client init --force"
        )
    _write(folder, texts)
    value = {
        "schema_version": SCHEMA_VERSION,
        "template": template,
        "service": name,
        "files": [str(path) for path in texts],
    }
    emit(value, output, "\n".join(f"wrote {path}" for path in texts))
    say("next: put your addresses into profile.yaml, then client start-rollout RELEASE --plan")


def _service(given: str | None, folder: Path) -> str:
    if given is None:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("._-")[:63]
        return name or "my-service"
    if not SERVICE.fullmatch(given):
        raise RefusedError(
            "NAME_INVALID", f"{given[:80]!r} cannot name a service", hint="letters, digits, . _ -"
        )
    return given


def _write(folder: Path, texts: dict[Path, str]) -> None:
    """Each file appears whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            partial = path.with_name(f".{path.name}.partial")
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
    except OSError as error:
        raise RefusedError(
            "USAGE", f"cannot write: {error.strerror}", place=str(error.filename or folder)
        ) from None
