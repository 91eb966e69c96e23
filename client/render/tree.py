"""A run's status document as lines, and the lines that changed. Pure: no terminal, no colour.

The document is ``client.run_status``'s. A line carries a style's name; what it looks like is the
terminal's matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from client.output import columns

GOOD, BAD, WAIT, PLAIN, FAINT = "good", "bad", "wait", "plain", "faint"

_STYLE_OF_STATUS = {
    "success": GOOD,
    "passed": GOOD,
    "PASS": GOOD,
    "failed": BAD,
    "rolled_back": BAD,
    "rolling_back": BAD,
    "FAIL": BAD,
    "held": WAIT,
    "paused": WAIT,
    "queued": WAIT,
    "INCONCLUSIVE": WAIT,
    "UNREACHABLE": WAIT,
}


_COHORT_WORK = ("shifting", "baking", "judging")
"""What an environment does at every cohort: a log tells the cohort's own lines instead."""


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    style: str = PLAIN


def short(digest: str | None) -> str:
    """Twelve hex digits, enough to find the rest by."""
    return (digest or "–").removeprefix("sha256:")[:12]


def tree(document: Mapping[str, Any]) -> list[Line]:
    """The whole run: one line for it, one for each environment, one for each cohort."""
    lines = [Line(headline(document), _STYLE_OF_STATUS.get(document["status"], PLAIN))]
    environments = document.get("environments", [])
    for index, environment in enumerate(environments):
        last = index == len(environments) - 1
        name, state = environment["name"], environment["status"]
        branch, stem = ("└─ ", "   ") if last else ("├─ ", "│  ")
        lines.append(Line(f"{branch}{name}  {state}", _STYLE_OF_STATUS.get(state, PLAIN)))
        lines += [
            Line(f"{stem}{text}", style) for text, style in _cohorts(name, document["stages"])
        ]
    if document.get("waits_for"):
        until = f" until {document['until']}" if document.get("until") else ""
        lines.append(Line(f"waits for {document['waits_for']}{until}", WAIT))
    if document.get("code"):
        lines.append(Line(f"{document['code']}: {document.get('cause', '')}", BAD))
    return lines


def headline(document: Mapping[str, Any]) -> str:
    return (
        f"{document['service']} {short(document['release_hash'])}  "
        f"run {document['run_id']}  {document['status']}"
    )


def _cohorts(name: str, stages: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    rows = [row for row in stages if row["stage"].partition("/")[0] == name]
    found = []
    for index, row in enumerate(rows):
        branch = "└─ " if index == len(rows) - 1 else "├─ "
        outcome = row["outcome"] or row["action"]
        text = f"{branch}{row['stage'].partition('/')[2]:>3} %  {outcome:<8} {_facts(row)}"
        found.append((text.rstrip(), _STYLE_OF_STATUS.get(row["outcome"] or "", PLAIN)))
    return found


def _facts(row: Mapping[str, Any]) -> str:
    looks = f" (look {row['looks']})" if (row.get("looks") or 0) > 1 else ""
    return f"{row.get('summary') or ''}{looks}"


def facts_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Everything that may change, each under its own name, in words; for the plain display."""
    facts = {"run": headline(document)}
    for row in document["stages"]:
        if row["outcome"]:
            said = f"{row['stage']}: {row['outcome']} {_facts(row)}"
            facts[f"stage {row['stage']}"] = said.rstrip()
    for environment in document.get("environments", []):
        name, state = environment["name"], environment["status"]
        if state not in _COHORT_WORK:
            facts[f"environment {name}"] = f"{name}: {state}"
    if document.get("waits_for") and "to confirm" not in document["waits_for"]:
        until = f" until {document['until']}" if document.get("until") else ""
        facts["waits"] = f"waits for {document['waits_for']}{until}"
    if document.get("code"):
        facts["end"] = f"{document['code']}: {document.get('cause', '')}"
    return facts


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The lines of ``after`` that ``before`` did not have, in order."""
    return [text for name, text in after.items() if before.get(name) != text]


def end_text(document: Mapping[str, Any]) -> str:
    """The end of a run on stdout: the tree, then where the proof lies."""
    lines = [line.text for line in tree(document)]
    reports = document.get("reports") or {}
    if reports:
        lines += ["", columns(sorted(reports.items()), ("REPORT", "DIGEST"))]
    if document.get("ui_url"):
        lines += ["", f"Temporal UI: {document['ui_url']}"]
    return "\n".join(lines)
