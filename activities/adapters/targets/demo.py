"""The ``demo`` target: the embedded agent of ``infra.demo``, spoken to over its admin interface."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from activities.adapters.bounded_http import Unanswered, exchange, is_http_url
from lockstep.documents import Problem, check
from lockstep.errors import DataError, FencedError, LockstepError, RefusedError, UnavailableError
from lockstep.ports import BringUp, Instance, TargetState

ASK_MAX_S = 3.0
PREPARE_MAX_S = 20.0  # the agent gives a new process 15 s
RETIRE_MAX_S = 15.0  # 5 s for requests in flight, 6 s for the process to end
ANSWER_MAX_BYTES = 1024 * 1024

_DATA = ("DOCUMENT_INVALID", "NAME_INVALID")
_LATER = ("CAPACITY",)


class DemoSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    admin_url: str
    """``http://host:port`` of the agent's admin interface."""


def open_demo(settings: Mapping[str, Any]) -> "DemoTarget":
    """Raises DocumentError: DOCUMENT_INVALID, naming the field."""
    checked = check(DemoSettings, dict(settings), _problems)
    return DemoTarget(checked.admin_url.rstrip("/"))


def _problems(settings: DemoSettings) -> list[Problem]:
    if is_http_url(settings.admin_url):
        return []
    return [Problem(("admin_url",), f"an http address is needed, not {settings.admin_url!r:.80}")]


@dataclass(frozen=True, slots=True)
class DemoTarget:
    """One environment's agent. Holds no connection: each call is an exchange of its own."""

    admin_url: str
    kind: str = "demo"
    cannot: tuple[str, ...] = (
        "It runs one process a release, so a bad process cannot be told from a bad release.",
        "Its admin interface asks for no credentials: whoever reaches the loopback may use it.",
        "Its fence lies in a file of its own: whoever can write that file can lower it.",
    )

    def state(self) -> TargetState:
        document = self._ask("GET", "/admin/state")
        try:
            instances = [_instance(one) for one in document["instances"]]
            return TargetState(
                tuple(sorted(instances, key=lambda one: one.release)), document["fence_epoch"]
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise self._nonsense(repr(error)) from None

    def fence(self, epoch: int) -> None:
        self._ask("POST", "/admin/fence", {"epoch": epoch})

    def capacity(self, release: str, percent: int) -> str | None:
        """One process takes any share, so all that is asked is that it runs and is healthy."""
        instance = self.state().of(release)
        if instance is None:
            return f"{release[:12]} does not run"
        return None if instance.healthy else f"{release[:12]} is not healthy"

    def prepare(self, bring_up: BringUp, epoch: int) -> Instance:
        """A release that runs already is only described: the caller compares what is told."""
        document = {
            "release": bring_up.release,
            "epoch": epoch,
            "artifacts": _in_base64(bring_up.artifacts),
            "configs": _in_base64(bring_up.configs),
        }
        answer = self._ask("POST", "/admin/instances", document, PREPARE_MAX_S)
        try:
            return _instance(answer)
        except (KeyError, TypeError, AttributeError) as error:
            raise self._nonsense(repr(error)) from None

    def shift(self, weights: Mapping[str, int], epoch: int) -> None:
        """All shares change between two requests, so none is raised before or after another."""
        self._ask("POST", "/admin/weights", {"weights": dict(weights), "epoch": epoch})

    def retire(self, release: str, epoch: int) -> None:
        path = f"/admin/instances/{quote(release, safe='')}?epoch={epoch}"
        self._ask("DELETE", path, timeout_s=RETIRE_MAX_S)

    def adopt(self, name: str, release: str, epoch: int) -> None:
        self._ask("POST", "/admin/adopt", {"name": name, "release": release, "epoch": epoch})

    # ---- one exchange -----------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        timeout_s: float = ASK_MAX_S,
    ) -> dict[str, Any]:
        body = None if document is None else json.dumps(document).encode()
        try:
            answer = exchange(
                method,
                self.admin_url + path,
                body=body,
                headers={"Content-Type": "application/json"} if body else None,
                timeout_s=timeout_s,
                size_max_bytes=ANSWER_MAX_BYTES,
            )
        except Unanswered as error:
            raise self._unreachable(str(error)) from None
        try:
            value = json.loads(answer.body)
        except ValueError:
            raise self._nonsense(f"status {answer.status} without JSON") from None
        if not isinstance(value, dict):
            raise self._nonsense(f"status {answer.status} without a JSON object")
        if answer.status == 200:
            return value
        raise self._refused(answer.status, value)

    def _refused(self, status: int, document: Mapping[str, Any]) -> LockstepError:
        code, cause = str(document.get("code", "")), str(document.get("cause", ""))[:400]
        if code == "FENCED":
            return FencedError(cause, place=self.admin_url)
        if not code or status >= 500:
            return self._nonsense(f"status {status}")
        if code in _DATA:
            return DataError(code, cause, place=self.admin_url)
        if code in _LATER:
            return UnavailableError(code, cause, place=self.admin_url)
        return RefusedError(code, cause, place=self.admin_url)

    def _unreachable(self, why: str) -> UnavailableError:
        return UnavailableError(
            "TARGET_UNREACHABLE", why, place=self.admin_url, hint="see client dev status"
        )

    def _nonsense(self, why: str) -> UnavailableError:
        return self._unreachable(f"what answers is no demo agent: {why}")


def _in_base64(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(body).decode() for name, body in files.items()}


def _instance(document: Mapping[str, Any]) -> Instance:
    return Instance(
        release=document["release"],
        weight=document["weight"],
        healthy=document["healthy"] is True,
        artifacts=dict(document["artifacts"]),
        configs=dict(document["configs"]),
    )
