"""Makes messages of every type that are well-formed and wrong, from the types themselves."""

import json
from collections.abc import Iterable
from typing import Final, get_args

import msgspec
import msgspec.inspect as mi
from hypothesis import strategies as st

from control.core.records.foreign import CARRIES
from control.model.bus.messages import Message
from control.model.names import Topic

Values = st.SearchStrategy[object]
Sample = tuple[Topic, bytes]

# Small ones name what there is, the others what cannot be.
_NUMBERS: Final = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    9_999,
    10_000,
    2**31,
    2**53,
    2**63 - 1,
    253_402_300_799_999,
)
_REALS: Final = (0.0, 0.5, 1.0, 1e-9, 12.5, -3.0, 2.0**53, -(2.0**53))
_TEXTS: Final = (
    "",
    "p",
    "only",
    "ann",
    "w",
    "d",
    "e",
    "Sleep",
    "\x00",
    "../x",
    "é\u202e",
    "x" * 5_000,
)
_JSON: Final[tuple[object, ...]] = (None, 1, "text", {"a": [1, {"b": None}]}, [[[]]], "\x00", 2**70)
_HASH: Final = f"scrypt$14$8$1${'00' * 16}${'00' * 32}"
_IMPOSSIBLE: Final = (-1, -(2**63), 2**63, 2**64, 2**1_000, 1e300, -1e300)
TYPES: Final = tuple(get_args(Message))


def topic_of(cls: type) -> Topic:
    """Where messages of a type belong."""
    return next(topic for topic, types in CARRIES.items() if cls in types)


def well_formed() -> st.SearchStrategy[Sample]:
    """A message of any type, with values that its type allows, on its topic."""
    return st.sampled_from(TYPES).flatmap(
        lambda cls: st.tuples(st.just(topic_of(cls)), _values(mi.type_info(cls)).map(_text))
    )


def impossible() -> st.SearchStrategy[Sample]:
    """The same with one number that fits nowhere."""
    return st.sampled_from(TYPES).flatmap(_with_impossible)


def _with_impossible(cls: type) -> st.SearchStrategy[Sample]:
    info = mi.type_info(cls)
    assert isinstance(info, mi.StructType)
    numbers = [
        field.encode_name
        for field in info.fields
        if any(
            isinstance(each, mi.IntType) and (each.le, each.lt) != (None, None)
            for each in _each(field.type)
        )
    ]
    if not numbers:
        return well_formed()
    return st.builds(
        lambda found, name, number: (topic_of(cls), _text({**found, name: number})),
        _values(info),
        st.sampled_from(numbers),
        st.sampled_from(_IMPOSSIBLE),
    )


def _text(found: object) -> bytes:
    return json.dumps(found).encode()


def _each(kind: mi.Type) -> Iterable[mi.Type]:
    if isinstance(kind, mi.Metadata):
        return _each(kind.type)
    return kind.types if isinstance(kind, mi.UnionType) else (kind,)


def _values(kind: mi.Type) -> Values:  # noqa: PLR0911, PLR0912 - One line a type.
    match kind:
        case mi.StructType():
            return _struct(kind)
        case mi.UnionType(types=types):
            return st.one_of(*map(_values, types))
        case mi.IntType(ge=least, le=most, lt=below):
            top = most if most is not None else 2**62 if below is None else below - 1
            low = 0 if least is None else least
            return st.sampled_from([low, top, *(n for n in _NUMBERS if low <= n <= top)])
        case mi.FloatType(ge=least, le=most):
            lowest, highest = (-1e15 if least is None else least, 1e15 if most is None else most)
            return st.sampled_from([n for n in _REALS if lowest <= n <= highest])
        case mi.Metadata(type=inner):
            return _values(inner)
        case mi.StrType(pattern=pattern, max_length=longest):
            texts = [each[:longest] for each in _TEXTS]
            return st.just(_HASH) if pattern else st.sampled_from(texts)
        case mi.EnumType(cls=cls):
            return st.sampled_from([each.value for each in cls])
        case mi.LiteralType(values=values):
            return st.sampled_from(values)
        case mi.TupleType(item_types=kinds):
            return st.tuples(*map(_values, kinds)).map(list)
        case mi.VarTupleType(item_type=item) | mi.ListType(item_type=item):
            return st.lists(_values(item), max_size=3)
        case mi.BoolType():
            return st.booleans()
        case mi.NoneType():
            return st.none()
        case mi.RawType():
            return st.sampled_from(_JSON)
        case _:
            raise AssertionError(kind)


def _struct(info: mi.StructType) -> st.SearchStrategy[dict[str, object]]:
    needed: dict[str, Values] = {}
    optional: dict[str, Values] = {}
    for field in info.fields:
        if field.encode_name == "schema":
            continue
        (needed if field.required else optional)[field.encode_name] = _values(field.type)
    tag = {} if info.tag is None else {"type": info.tag}
    made = st.fixed_dictionaries(needed, optional=optional)
    return made.map(lambda found: {**tag, **found})


def decoded(sample: Sample) -> object:
    """What stands there, as plain JSON: for messages of failed tests."""
    return msgspec.json.decode(sample[1])
