"""Decides whether one job's kind, version, params, and templates are right."""

import re
from collections.abc import Collection
from typing import Final

import msgspec

from control.core.pipelines.problems import Findings, listing
from control.core.pipelines.type_errors import check_shape
from control.model.errors import Invalid
from control.model.json_values import Json, Path, show
from control.model.kinds import KindClass, KindRegistry
from control.model.pipelines import VERSION_PATTERN
from control.model.surroundings.base import texts
from control.model.surroundings.environment import ENVIRONMENT
from control.model.templates import OPENING, references

_AT: Final = re.compile(r" - at `([^`]*)`$")  # How msgspec ends a message with the place.


def check_kind(
    job: dict[str, Json], path: Path, kinds: KindRegistry, findings: Findings
) -> str | None:
    """Check kind, version, and params; returns the version that counts, if there is one."""
    kind = job.get("kind")
    if not isinstance(kind, str):
        return None
    versions = kinds.versions(kind)
    if not versions:
        hint = kinds.missing(kind) or findings.suggest(kind, kinds.names())
        hint = hint or "no kinds are installed here"
        findings.add((*path, "kind"), f"there is no kind {show(kind)}", hint)
        return None
    version = job.get("version", versions[-1])
    if not isinstance(version, str):
        return None
    if version not in versions:
        known = re.fullmatch(VERSION_PATTERN, version)
        message = f"{kind} has no version {version}" if known else f"{show(version)} is no version"
        findings.add((*path, "version"), message, f"available: {', '.join(versions)}")
        return None
    params = job.get("params", {})
    if isinstance(params, dict):
        _check_params(params, kinds.get(kind, version), (*path, "params"), findings)
    else:
        findings.add((*path, "params"), f"expected an object, found {show(params)}")
    return version


def check_templates(
    job: dict[str, Json],
    path: Path,
    awaited: Collection[str] | None,
    names: Collection[str],
    findings: Findings,
) -> None:
    """Check every template of `params` and `env`; `awaited` is None where it is not known."""
    check_texts(job, ("params", "env"), path, names, findings, awaited=awaited)


def check_texts(
    value: dict[str, Json],
    fields: Collection[str],
    path: Path,
    names: Collection[str],
    findings: Findings,
    *,
    awaited: Collection[str] | None = None,
) -> None:
    """Check every template in these fields; `awaited` None: any job in `names` may be named."""
    for field in fields:
        for place, text in texts(value.get(field), (*path, field)):
            if OPENING not in text:
                continue
            try:
                found = references(text)
            except Invalid as error:
                for problem in error.problems:
                    findings.add(place, problem.message, problem.hint)
                continue
            for name in dict.fromkeys(reference.job for reference in found):
                if name is not None:
                    _check_job_named(name, place, awaited, names, findings)


def check_surroundings(
    job: dict[str, Json],
    path: Path,
    kind: KindClass | None,
    findings: Findings,
) -> None:
    """Refuse each template whose value would become code; `kind`: None where there is none."""
    params, env = job.get("params"), job.get("env")
    if kind is not None and isinstance(params, dict):
        for name, around in kind.surroundings.items():
            for problem in around.problems(params.get(name), params):
                place = (*path, "params", name, *problem.path)
                findings.add(place, problem.message, problem.hint)
    for problem in ENVIRONMENT.problems(env, {}):
        findings.add((*path, "env", *problem.path), problem.message, problem.hint)


def _check_params(params: dict[str, Json], kind: KindClass, path: Path, findings: Findings) -> None:
    fit = _misfit(params, kind.params)
    if fit is None:
        return
    before = len(findings)
    check_shape(params, kind.params, path, findings, templates=True)
    found_none = len(findings) == before and not findings.full
    if found_none and not any(OPENING in text for _, text in texts(params, path)):
        # Only msgspec knows this rule, for example one in the params' own `__post_init__`.
        at = _AT.search(fit)
        where = f" (at {at[1].replace('$', 'params')})" if at else ""
        findings.add(path, _AT.sub("", fit) + where)


def _misfit(params: dict[str, Json], shape: type[msgspec.Struct]) -> str | None:
    try:
        msgspec.json.decode(msgspec.json.encode(params), type=shape)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def _check_job_named(
    name: str,
    place: Path,
    awaited: Collection[str] | None,
    names: Collection[str],
    findings: Findings,
) -> None:
    if name not in names:
        known = names if awaited is None else awaited
        hint = findings.suggest(name, known) or "this job waits for no other"
        findings.add(place, f"a template names the job {show(name)}, which does not exist", hint)
    elif awaited is not None and name not in awaited:
        may = f"it may name: {listing(awaited)}" if awaited else "it waits for no other job"
        message = f"a template names the job {show(name)}, for which this job does not wait"
        findings.add(place, message, f"{may}; jobs in needs are waited for")
