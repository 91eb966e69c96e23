"""What the Temporal UI shows in words: markdown from values, nothing decided here."""

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from lockstep import messages as m


def clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def percent_of(percent: int) -> str:
    return f"{percent} % of traffic"


def short(digest: str | None) -> str:
    return digest[7:19] if digest else "–"


def _waiting(waits_for: str, until: str = "") -> str:
    if not waits_for:
        return ""
    return f"\n\n**Waits for** {waits_for}" + (f" until {until}" if until else "")


def environment_details(status: m.EnvironmentStatus) -> str:
    """Tree of one environment with the last verdict and what it waits for."""
    rows = [
        f"| {row.stage} | {row.action} | {row.outcome or '…'} | {row.looks} | {row.summary} |"
        for row in status.stages
    ]
    table = "\n".join(
        ["| cohort | step | verdict | looks | values and limits |", "|---|---|---|---|---|", *rows]
    )
    head = f"## {status.environment}: {status.status}, lease epoch {status.epoch}"
    return f"{head}{_waiting(status.waits_for, status.until)}\n\n{table}"


def run_details(status: m.RunStatus, names: list[str]) -> str:
    """The whole rollout: environments, what holds it, where the reports are."""
    lines = []
    for name in names:
        mark = "passed" if name in status.passed else "–"
        if name == status.environment:
            mark = f"under way (workflow environment/{status.run.tenant_id}/{name}/…)"
        lines.append(f"- **{name}**: {mark}")
    ends = [f"- {kind}: `{digest}`" for kind, digest in sorted(status.reports.items())]
    why = f"\n\n**{status.code}** {status.cause}" if status.code else ""
    tree = "\n".join(lines + ends)
    head = f"## {status.run.service}: {status.status.value}"
    return f"{head}{_waiting(status.waits_for)}{why}\n\n{tree}"


def rollback_details(request: m.RollbackRequest, status: str) -> str:
    return (
        f"## {request.environment} goes back: {status}\n\n"
        f"**{request.reason_code}** {request.reason}\n\nto release `{short(request.to)}`"
    )
