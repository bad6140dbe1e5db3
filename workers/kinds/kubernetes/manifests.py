"""Decides which manifests a job may bring, and which templates in them are data.

What else is right in a manifest the API server knows, and says.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from control.model.json_values import Json, Path
from control.model.surroundings.base import Misplaced, Surroundings, scalar_texts
from control.model.surroundings.shell import ShellCommand
from control.model.templates import Renderer

Namespace = Annotated[
    str,
    Meta(
        pattern="^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="Default: the manifest's, or else that of the context.",
        examples=["batch"],
    ),
]
Context = Annotated[
    str,
    Meta(
        min_length=1,
        description="Of the worker's kubeconfig. Default: its current one, or its own cluster.",
        examples=["production"],
    ),
]
_COMMANDS: Final = ("command", "args")  # A container's program, and what is added to it.
# What the API takes as texts only, whatever a template's value is.
_TEXTS: Final = frozenset({"labels", "annotations", "env", "nodeSelector", "matchLabels"})
_list_command: Final = ShellCommand()


class _Metadata(msgspec.Struct):
    name: str | None = None
    generateName: str | None = None  # noqa: N815 - As it is in a manifest.
    namespace: str | None = None
    labels: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None


class _Container(msgspec.Struct):
    name: str
    env: list[dict[str, Any]] | None = None


class _PodSpec(msgspec.Struct):
    containers: Annotated[list[_Container], Meta(min_length=1)]
    initContainers: list[_Container] | None = None  # noqa: N815 - As above.


class _Template(msgspec.Struct):
    spec: _PodSpec
    metadata: _Metadata | None = None


class _Spec(msgspec.Struct):
    template: _Template


class _Manifest(msgspec.Struct):
    spec: _Spec
    kind: str
    apiVersion: str  # noqa: N815 - As above.
    metadata: _Metadata | None = None


def check(manifest: Mapping[str, Any], kind: str, api: str, namespace: str | None) -> None:
    """Raise ValueError, in words, for a manifest of another kind, shape, or namespace."""
    named = {"kind": kind, "apiVersion": api, **manifest}
    try:
        read = msgspec.convert(named, _Manifest)
    except msgspec.ValidationError as error:
        raise ValueError(f"the manifest is no {kind}: {error}") from error
    if (read.kind, read.apiVersion) != (kind, api):
        raise ValueError(
            f"the manifest is of {read.kind} in {read.apiVersion}; it must be of {kind} in {api}"
        )
    own = read.metadata and read.metadata.namespace
    if own and namespace and own != namespace:
        raise ValueError(
            f"the manifest is of namespace {own!r}, the job of {namespace!r}; leave one of them out"
        )


def namespace_of(manifest: Mapping[str, Any] | None, namespace: str | None) -> str | None:
    """Where a job's objects are to be, if it says so."""
    return namespace or (((manifest or {}).get("metadata") or {}).get("namespace") or None)


class ManifestTemplates(Surroundings):
    """A manifest: data, but for the commands in it."""

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:
        """Each template in a command that would become code there."""
        yield from self._problems(value, params, ())

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:
        """Values as they are, and as texts where only texts may stand."""
        if isinstance(value, list):
            return [self.insert(each, params, renderer) for each in value]
        if not isinstance(value, dict):
            return renderer.value(value)
        return {
            key: scalar_texts(each, renderer)
            if key in _TEXTS or key in _COMMANDS
            else self.insert(each, params, renderer)
            for key, each in value.items()
        }

    def _problems(self, value: Json, params: Mapping[str, Json], path: Path) -> Iterator[Misplaced]:
        if isinstance(value, list):
            for index, each in enumerate(value):
                yield from self._problems(each, params, (*path, index))
        elif isinstance(value, dict):
            words: list[tuple[Path, Json]] = [
                ((*path, key, index), word)
                for key in _COMMANDS
                if isinstance(parts := value.get(key), list)
                for index, word in enumerate(parts)
            ]
            if not isinstance(value.get("command"), list):
                words.insert(0, (path, None))  # The image's own program, which is not known here.
            for problem in _list_command.problems([word for _, word in words], params):
                (at,) = problem.path
                yield problem._replace(path=words[int(at)][0])
            for key, each in value.items():
                yield from self._problems(each, params, (*path, key))
