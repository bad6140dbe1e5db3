"""Decides which pipelines a run's end starts."""

from control.model import limits
from control.model.pipelines import NotifySpec, TriggerSpec
from control.model.states import State, When


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
