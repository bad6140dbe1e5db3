"""Decides which pipelines a run's end starts."""

from control.model import limits
from control.model.pipelines import TriggerSpec
from control.model.states import State, When


def fires(spec: TriggerSpec, state: State) -> bool:
    """Whether a run that ended in this state starts the pipeline. `always`: however it ended."""
    if spec.when == When.ALWAYS:
        return True
    return state == (State.DONE if spec.when == When.ON_SUCCESS else State.ERROR)


def trigger_problem(
    pipeline: str, *, depth: int, input_bytes: int, waiting: int, queue_size: int
) -> str | None:
    """Why a pipeline cannot be started, for the reason of the run that should have.

    Triggered runs may pass the queue's limits, because nobody would send them again; but not
    without end: pipelines with several triggers on each other multiply.
    """
    if waiting >= limits.TRIGGERED_QUEUE_FACTOR * queue_size:
        return f"{pipeline} was not started: {waiting} jobs wait already"
    if depth >= limits.TRIGGER_DEPTH_MAX:
        return f"{pipeline} was not started: {depth} pipelines have triggered each other already"
    if input_bytes > limits.JOB_INPUT_BYTES_MAX:
        allowed = limits.JOB_INPUT_BYTES_MAX // limits.MIB
        return f"{pipeline} was not started: its input would be more than {allowed} MiB"
    return None
