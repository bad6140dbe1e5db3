"""Decides which words a type allows, for telling them to whoever wrote another one."""

import msgspec


def choices(error: msgspec.ValidationError, wanted: object) -> str | None:
    """What a type allows in place of a word that is none of its own; None: that was not it."""
    if "enum value" not in str(error):
        return None
    return ", ".join(_words(msgspec.inspect.type_info(wanted)))


def _words(kind: msgspec.inspect.Type) -> tuple[str, ...]:
    match kind:
        case msgspec.inspect.EnumType():
            return tuple(str(member.value) for member in kind.cls)
        case msgspec.inspect.LiteralType():
            return tuple(str(value) for value in kind.values)
        case msgspec.inspect.FloatType():
            return ("a number",)
        case msgspec.inspect.VarTupleType(item_type=inner) | msgspec.inspect.Metadata(type=inner):
            return _words(inner)
        case msgspec.inspect.UnionType():
            return tuple(word for part in kind.types for word in _words(part))
    return ()
