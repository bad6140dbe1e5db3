"""Decides how errors speak of connections and targets of a worker's config: by name, no secrets."""

from collections.abc import Collection, Iterable

from control.model.errors import JobFailed
from control.model.json_values import show


def unknown(what: str, name: str, names: Collection[str]) -> JobFailed:
    """The error of a job that names a connection or a target which the config does not have."""
    known = f"it has {', '.join(sorted(names))}" if names else f"it has no {what} at all"
    return JobFailed(f"this worker's config has no {what} {show(name)}; {known}", final=True)


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text without secrets."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
