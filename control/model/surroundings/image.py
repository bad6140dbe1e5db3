"""Decides where a value may stand in the name of a container image: it chooses no other image.

Which program runs is decided by registry and repository; a value may choose a tag or a digest.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from control.model.errors import Invalid, JobFailed
from control.model.json_values import Json, cut, show
from control.model.surroundings.base import Misplaced, Surroundings
from control.model.templates import OPENING, Reference, Renderer, references

_TAG: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HINT: Final = "write registry and repository; a template may be in the tag: app:${{ run.version }}"


class ImageName(Surroundings):
    """The name of an image: `registry/repository:tag@digest`."""

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:  # noqa: ARG002 - The interface of all surroundings.
        """Each template that would choose a registry or a repository."""
        if not isinstance(value, str) or OPENING not in value:
            return
        try:
            templates = references(value)
        except Invalid:
            return  # Refused where templates are checked.
        for reference in templates:
            if not _in_tag(value, reference):
                template = cut(value[reference.start : reference.end])
                message = f"{template} would choose the image, and so the program that is executed"
                yield Misplaced((), message, _HINT)

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:  # noqa: ARG002 - As above.
        """Fill in tags and digests; raises JobFailed for a value that is no part of one."""
        return renderer.text(value, _checked) if isinstance(value, str) else value


def _in_tag(image: str, reference: Reference) -> bool:
    before = re.sub(r"\$\{\{.*?\}\}", "x", image[: reference.start], flags=re.DOTALL)
    after = re.sub(r"\$\{\{.*?\}\}", "x", image[reference.end :], flags=re.DOTALL)
    last = before.rpartition("/")[2]
    return "/" not in after and (":" in last or "@" in last)


def _checked(_: Reference, text: str) -> str:
    if not _TAG.fullmatch(text):
        raise JobFailed(
            f"the image's tag would contain {show(text)}: a tag has letters, digits, ._-"
        )
    return text


IMAGE: Final = ImageName()
