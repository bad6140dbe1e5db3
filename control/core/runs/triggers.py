"""Decides which pipelines a run starts, and how those runs begin."""

from msgspec import Raw

from control.core.runs.advance import Advance
from control.model import limits
from control.model.pipelines import NotifySpec, Pipeline, TriggerSpec
from control.model.state_rows import NewRun
from control.model.states import State, Trigger, When


def fires(spec: TriggerSpec | NotifySpec, state: State) -> bool:
    """Whether it is for a run that ended in this state. `always`: however it ended."""
    if spec.when == When.ALWAYS:
        return True
    return state == (State.DONE if spec.when == When.ON_SUCCESS else State.ERROR)


def start_problem(*, depth: int, family: int, input_bytes: int) -> str | None:
    """Why a run may not start another one; None: it may.

    `depth`: how many runs started each other up to this one; `family`: how many runs its first one
    has led to. Pipelines with several triggers on each other multiply.
    """
    if depth >= limits.TRIGGER_DEPTH_MAX:
        return f"{depth} pipelines have started each other already"
    if family >= limits.FAMILY_RUNS_MAX:
        return f"the first run of this chain has started {family} runs already"
    if input_bytes > limits.JOB_INPUT_BYTES_MAX:
        allowed = limits.JOB_INPUT_BYTES_MAX // limits.MIB
        return f"its input would be more than {allowed} MiB"
    return None


def started_by(
    step: Advance, revision_id: int, target: Pipeline, value: Raw, *, of_job: bool
) -> NewRun:
    """The run of `target` that a run starts, for the same client; `value`: its input.

    `of_job`: a job of the run waits for it, so it is at least as urgent as the run.
    """
    run = step.run
    return NewRun(
        revision_id=revision_id,
        client=run.client,
        client_priority=run.client_priority,
        max_running=run.max_running,
        trigger=Trigger.PIPELINE,
        created_ms=step.now_ms,
        priority=min(run.priority, target.priority) if of_job else None,
        input=value,
        depth=run.depth + 1,
        root_run_id=run.root_run_id,
    )
