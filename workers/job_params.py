"""Decides what a kind gets to execute: reads `work`, fills in templates, checks it against params.

Most work has no template and is read in one step, straight into the kind's params.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
import msgspec.inspect

from control.model.errors import JobFailed
from control.model.json_values import Json
from control.model.kinds import Kind
from control.model.surroundings.base import DATA
from control.model.surroundings.environment import ENVIRONMENT
from control.model.templates import Renderer

P = TypeVar("P")
AnyKind: TypeAlias = Kind[msgspec.Struct]


class Work(msgspec.Struct, Generic[P], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `Assign.work` says: the kind's params, and the job's own environment."""

    params: P
    env: dict[str, str] = {}


class _Unread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    params: dict[str, Any]  # Json, which msgspec cannot read: it refers to itself.
    env: dict[str, str] = {}


_NONE: Final = msgspec.inspect.NoneType()
_unread = msgspec.json.Decoder(_Unread)
_data = msgspec.json.Decoder(dict[str, Any])


def _is_text(kind: msgspec.inspect.Type) -> bool:
    """Whether a param of this type holds texts and nothing else that is a value."""
    match kind:
        case msgspec.inspect.UnionType(types=types):
            return all(_is_text(each) or each == _NONE for each in types)
        case msgspec.inspect.ListType(item_type=inner) | msgspec.inspect.DictType(value_type=inner):
            return _is_text(inner)
    return isinstance(kind, msgspec.inspect.StrType)


def _as_text(value: Json) -> Json:
    """Numbers, true, and false as they are written, wherever they are in the value."""
    match value:
        case bool() | int() | float():
            return msgspec.json.encode(value).decode()
        case list():
            return [_as_text(each) for each in value]
        case dict():
            return {key: _as_text(each) for key, each in value.items()}
    return value


class WorkReader:
    """Reads the work of one kind."""

    def __init__(self, kind: AnyKind) -> None:
        self._kind = kind
        self._decoder: msgspec.json.Decoder[Work[msgspec.Struct]] = msgspec.json.Decoder(
            Work[kind.params]  # type: ignore[name-defined]
        )
        struct = msgspec.inspect.type_info(kind.params)
        assert isinstance(struct, msgspec.inspect.StructType)
        self._texts = {each.encode_name for each in struct.fields if _is_text(each.type)}

    def read(self, work: bytes, document: Callable[[], bytes]) -> Work[msgspec.Struct]:
        """Return what to execute; raises JobFailed, in words, when it does not fit.

        `work`: as of `Assign`; `document`: gives what templates name, as JSON.
        """
        try:
            # A template may hide behind JSON's escapes (\u007b is a brace).
            if b"{{" in work or b"\\u00" in work:
                work = self._fill_in(work, _data.decode(document()))
            return self._decoder.decode(work)
        except (msgspec.DecodeError, UnicodeError) as error:
            msg = f"the params do not fit {self._kind.name} {self._kind.version}: {error}"
            raise JobFailed(msg) from error

    def _fill_in(self, work: bytes, data: dict[str, Json]) -> bytes:
        unread = _unread.decode(work)
        renderer = Renderer(data)
        around = self._kind.surroundings
        params = {
            name: around.get(name, DATA).fill_in(value, unread.params, renderer)
            for name, value in unread.params.items()
        }
        for name in self._texts & params.keys():
            params[name] = _as_text(params[name])
        env = ENVIRONMENT.fill_in(dict(unread.env), {}, renderer)
        assert isinstance(env, dict)
        return msgspec.json.encode({"params": params, "env": env | renderer.variables})
