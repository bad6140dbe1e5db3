"""Finds every way in which a plain value does not fit a msgspec type, in words for people.

msgspec itself stops at the first problem; who writes a pipeline file wants all of them.
"""

import enum
import re
from collections.abc import Collection, Iterable
from functools import cache
from typing import Final, TypeAlias

from msgspec import inspect as types

from control.core.pipelines.problems import Findings, listing
from control.model.json_values import Json, Path, cut, show
from control.model.templates import OPENING, is_whole

_LISTS: Final = (
    types.ListType,
    types.SetType,
    types.FrozenSetType,
    types.VarTupleType,
    types.CollectionType,
    types.TupleType,
)
_ListInfo: TypeAlias = (
    types.ListType | types.SetType | types.FrozenSetType | types.VarTupleType | types.CollectionType
)
_NEVER_BOOLEAN: Final = (types.IntType, types.FloatType, types.EnumType, types.LiteralType)
_Classes: TypeAlias = tuple[type, ...]
# Types, how a message calls them, and what they look like in Python.
_JSON_TYPES: Final[tuple[tuple[_Classes, str, _Classes], ...]] = (
    ((types.BoolType,), "true or false", (bool,)),
    ((types.IntType,), "a whole number", (int,)),
    ((types.FloatType,), "a number", (int, float)),
    ((types.StrType,), "text", (str,)),
    ((types.EnumType, types.LiteralType), "one of a few words", (str, int, type(None))),
    (_LISTS, "a list", (list,)),
    ((types.StructType, types.DictType), "an object", (dict,)),
    ((types.NoneType,), "null", (type(None),)),
)
IN_QUOTES: Final = "put it in quotes: "
_BOOLEANS_OF_YAML_1_1: Final = {
    **dict.fromkeys(("yes", "y", "on", "true"), "true"),
    **dict.fromkeys(("no", "n", "off", "false"), "false"),
}


def check_shape(
    value: Json, shape: object, path: Path, findings: Findings, *, templates: bool = False
) -> None:
    """Note every problem of `value` as a `shape`.

    With `templates` a string that is one whole template fits anywhere, and a text with templates
    in it fits wherever a text does: what they become is known when the job runs.
    """
    _Shape(findings, templates=templates).check(value, _type_info(shape), path)


@cache
def _type_info(shape: object) -> types.Type:
    return types.type_info(shape)


class _Shape:
    """One pass over one value."""

    def __init__(self, findings: Findings, *, templates: bool) -> None:
        self._findings = findings
        self._templates = templates

    def check(
        self, value: Json, info: types.Type, path: Path, examples: Collection[Json] = ()
    ) -> None:
        if isinstance(info, types.Metadata):
            known = (info.extra_json_schema or {}).get("examples", ())
            self.check(value, info.type, path, known)
        elif self._findings.full or self._fits_as_template(value, info):
            return
        elif isinstance(info, types.UnionType):
            self._union(value, info, path)
        elif not _takes(info, value):
            written = self._findings.written.get(path)
            hint = _mismatch_hint((info,), value, written)
            self._findings.add(path, _mismatch((info,), value), hint)
        else:
            self._content(value, info, path, examples)

    def _content(
        self, value: Json, info: types.Type, path: Path, examples: Collection[Json]
    ) -> None:
        """Look inside a value whose outer type is right."""
        if isinstance(value, dict) and isinstance(info, types.StructType):
            self._struct(value, info, path)
        elif isinstance(value, dict) and isinstance(info, types.DictType):
            self._length(len(value), info, "fields", path)
            for key, item in value.items():
                self.check(key, info.key_type, (*path, key))
                self.check(item, info.value_type, (*path, key))
        elif isinstance(value, list) and isinstance(info, types.TupleType):
            if len(value) != len(info.item_types):
                wanted = len(info.item_types)
                self._findings.add(path, f"expected {wanted} items, found {len(value)}")
            for index, (item, item_type) in enumerate(zip(value, info.item_types, strict=False)):
                self.check(item, item_type, (*path, index))
        elif isinstance(value, list) and isinstance(info, _LISTS):
            assert not isinstance(info, types.TupleType)
            self._length(len(value), info, "items", path)
            for index, item in enumerate(value):
                self.check(item, info.item_type, (*path, index))
        elif isinstance(info, types.EnumType | types.LiteralType):
            self._choice(value, info, path)
        elif isinstance(value, str) and isinstance(info, types.StrType):
            self._text(value, info, path, examples)
        elif isinstance(value, int | float) and isinstance(info, types.IntType | types.FloatType):
            for message in _out_of_range(value, info):
                self._findings.add(path, message)

    def _fits_as_template(self, value: Json, info: types.Type) -> bool:
        if not (self._templates and isinstance(value, str) and OPENING in value):
            return False
        members = _members(info)
        return is_whole(value) or any(
            isinstance(member, types.StrType | types.EnumType | types.LiteralType)
            for member in members
        )

    def _union(self, value: Json, info: types.UnionType, path: Path) -> None:
        members = _members(info)
        fitting = [member for member in members if _takes(member, value)]
        if not fitting:
            hint = _mismatch_hint(members, value, self._findings.written.get(path))
            self._findings.add(path, _mismatch(members, value), hint)
            return
        for member in fitting:
            tried = Findings(written=self._findings.written)
            _Shape(tried, templates=self._templates).check(value, member, path)
            if not len(tried):
                return
        self.check(value, fitting[0], path)

    def _struct(self, value: dict[str, Json], info: types.StructType, path: Path) -> None:
        fields = {field.encode_name: field for field in info.fields}
        for name, item in value.items():
            if name in fields:
                self.check(item, fields[name].type, (*path, name))
            elif info.forbid_unknown_fields and name != info.tag_field:
                hint = self._findings.suggest(name, fields)
                self._findings.add((*path, name), "unknown field", hint)
        for name, field in fields.items():
            if field.required and name not in value:
                self._findings.add((*path, name), "required, but missing")

    def _choice(self, value: Json, info: types.EnumType | types.LiteralType, path: Path) -> None:
        if isinstance(info, types.EnumType):
            choices = [member.value for member in _enum_members(info.cls)]
        else:
            choices = list(info.values)
        if value not in choices:
            words = [str(choice) for choice in choices]
            hint = self._findings.suggest(str(value), words)
            self._findings.add(path, f"{show(value)} is none of: {listing(words)}", hint)

    def _text(
        self, value: str, info: types.StrType, path: Path, examples: Collection[Json]
    ) -> None:
        self._length(len(value), info, "characters", path)
        if info.pattern is None:
            return
        match = re.search(info.pattern, value)
        # `$` also matches before a last line break, which no name may have.
        if match is None or (info.pattern.endswith("$") and match.end() != len(value)):
            hint = f"for example {', '.join(map(str, examples))}" if examples else None
            self._findings.add(path, f"{show(value)} does not match {info.pattern}", hint)

    def _length(
        self,
        length: int,
        info: types.StrType | types.DictType | _ListInfo,
        unit: str,
        path: Path,
    ) -> None:
        if info.max_length is not None and length > info.max_length:
            message = f"{length} {unit}, at most {info.max_length} are allowed"
            self._findings.add(path, message)
        if info.min_length is not None and length < info.min_length:
            message = "must not be empty" if length == 0 else f"only {length} {unit}"
            self._findings.add(path, message, f"at least {info.min_length}")


def _enum_members(cls: type[enum.Enum]) -> Iterable[enum.Enum]:
    return cls


def _members(info: types.Type) -> tuple[types.Type, ...]:
    members = info.types if isinstance(info, types.UnionType) else (info,)
    return tuple(
        member.type if isinstance(member, types.Metadata) else member for member in members
    )


def _takes(info: types.Type, value: Json) -> bool:
    """Whether a value's JSON type is right for a type; what the table lacks takes anything."""
    return next(
        (isinstance(value, right) for kinds, _, right in _JSON_TYPES if isinstance(info, kinds)),
        True,
    ) and not (isinstance(value, bool) and isinstance(info, _NEVER_BOOLEAN))


def _mismatch(members: Collection[types.Type], value: Json) -> str:
    words = [
        word for member in members for kinds, word, _ in _JSON_TYPES if isinstance(member, kinds)
    ]
    wanted = [word for word in dict.fromkeys(words) if word != "null"] or ["null"]
    return f"expected {' or '.join(wanted)}, found {show(value)}"


def _mismatch_hint(members: Collection[types.Type], value: Json, written: str | None) -> str | None:
    kinds = {type(member) for member in members}
    if value is None:
        return "leave the field out to take its default"
    if isinstance(value, str) and types.BoolType in kinds:
        right = _BOOLEANS_OF_YAML_1_1.get(value.lower())
        return f"write {right}, without quotes" if right else None
    if isinstance(value, bool | int | float) and types.StrType in kinds:
        return f'{IN_QUOTES}"{show(value) if written is None else cut(written)}"'
    if isinstance(value, str) and kinds & {types.IntType, types.FloatType}:
        return "write the number without quotes" if re.fullmatch(r"-?[\d.]+", value) else None
    if not isinstance(value, list | dict) and kinds.intersection(_LISTS):
        return f"write [{show(value)}]"
    return None


def _out_of_range(value: float, info: types.IntType | types.FloatType) -> Iterable[str]:
    if info.ge is not None and value < info.ge:
        yield f"must be at least {info.ge}, found {value}"
    if info.gt is not None and value <= info.gt:
        yield f"must be more than {info.gt}, found {value}"
    if info.le is not None and value > info.le:
        yield f"must be at most {info.le}, found {value}"
    if info.lt is not None and value >= info.lt:
        yield f"must be less than {info.lt}, found {value}"
    if info.multiple_of is not None and value % info.multiple_of != 0:
        yield f"must be a multiple of {info.multiple_of}, found {value}"
