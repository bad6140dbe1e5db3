"""Decides how long a failed job waits before its next attempt."""

from control.model.pipelines import JobSpec


def retry_delay_ms(spec: JobSpec, failures: int, jitter: float) -> int:
    """Exponential back-off: `retry_delay`, then doubled, up to `retry_delay_max`.

    `jitter` in [-0.1, 0.1] keeps jobs that failed together from returning in step. The first
    delay is never shortened below what the pipeline says.
    """
    assert failures >= 1
    doublings = min(failures - 1, 64)
    delay = min(spec.retry_delay * 2.0**doublings, max(spec.retry_delay_max, spec.retry_delay))
    return round(delay * 1000 * (1 + (abs(jitter) if failures == 1 else jitter)))
