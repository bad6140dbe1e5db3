"""Owns the JSON null that is carried undecoded."""

from typing import Final

from msgspec import Raw

NULL: Final = Raw(b"null")


def null() -> Raw:
    """`NULL`, for fields: JSON Schemas cannot show such a default itself."""
    return NULL
