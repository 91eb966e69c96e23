"""Activities by name and types. Bodies live in ``activities``; a test matches each to its one."""

from temporalio import activity

from lockstep import messages as m


@activity.defn(name="preflight.environment")
def preflight_environment(request: m.PreflightEnvironmentRequest) -> m.PreflightEnvironmentResult:
    raise NotImplementedError


@activity.defn(name="preflight.run")
def preflight_run(request: m.PreflightRequest) -> m.PreflightResult:
    raise NotImplementedError


@activity.defn(name="environment.acquire")
def acquire(request: m.AcquireRequest) -> m.AcquireResult:
    raise NotImplementedError


@activity.defn(name="environment.wait")
def wait_for_lease(request: m.WaitForLeaseRequest) -> m.Done:
    raise NotImplementedError


@activity.defn(name="environment.hold")
def hold(request: m.HoldRequest) -> m.Done:
    raise NotImplementedError


@activity.defn(name="target.prepare")
def prepare(request: m.PrepareRequest) -> m.PrepareResult:
    raise NotImplementedError


@activity.defn(name="target.shift")
def shift(request: m.ShiftRequest) -> m.ShiftResult:
    raise NotImplementedError


@activity.defn(name="gate.evaluate")
def evaluate(request: m.EvaluateRequest) -> m.EvaluateResult:
    raise NotImplementedError


@activity.defn(name="rollback.begin")
def begin_rollback(request: m.BeginRollbackRequest) -> m.BeginRollbackResult:
    raise NotImplementedError


@activity.defn(name="rollback.move")
def move_back(request: m.MoveBackRequest) -> m.RollbackResult:
    raise NotImplementedError


@activity.defn(name="run.commit")
def commit(request: m.CommitRequest) -> m.EndResult:
    raise NotImplementedError


@activity.defn(name="run.close")
def close(request: m.CloseRequest) -> m.EndResult:
    raise NotImplementedError
