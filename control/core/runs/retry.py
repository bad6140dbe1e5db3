"""Decides how long a failed job waits before its next attempt."""

from control.model.pipelines import JobSpec


def retry_delay_ms(spec: JobSpec, failures: int, jitter: float) -> int:
    """Exponential back-off: `retry_delay`, then doubled, up to `retry_delay_max`.

    `jitter` in [-0.1, 0.1] keeps jobs that failed together from returning in step. It shortens no
    first delay below `retry_delay`, and lengthens none beyond `retry_delay_max`.
    """
    assert failures >= 1
    doublings = min(failures - 1, 64)
    longest = max(spec.retry_delay_max, spec.retry_delay)
    delay = min(spec.retry_delay * 2.0**doublings, longest)
    if failures == 1:
        jittered = min(delay * (1 + abs(jitter)), longest)
    else:
        jittered = delay * (1 + jitter)
        if jittered > longest:
            jittered = longest * (1 - abs(jitter))
    return round(jittered * 1000)
