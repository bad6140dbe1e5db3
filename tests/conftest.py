"""Owns what holds for every test: examples are not timed, since the machine may be busy."""

from hypothesis import settings

settings.register_profile("taskplane", deadline=None)
settings.load_profile("taskplane")
