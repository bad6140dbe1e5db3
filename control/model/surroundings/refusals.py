"""Owns why a value would become code, and what is advised instead."""

from typing import Final, NamedTuple


class Refusal(NamedTuple):
    """Why a value would become code, and what to write instead of TEMPLATE."""

    why: str
    instead: str


VARIABLE: Final = 'set `env: {VALUE: "TEMPLATE"}` for the job, and write "$VALUE" here'
ARGUMENT: Final = (
    "pass it as an argument after the code, as in `sh -c 'echo \"$1\"' sh TEMPLATE`, or set "
    '`env: {VALUE: "TEMPLATE"}` for the job and let the code read the variable VALUE'
)
PROGRAM: Final = (
    "choose among names, `case TEMPLATE in a) make a;; b) make b;; esac`; or, where the run's "
    'input is trusted to name any, set `env: {PROGRAM: "TEMPLATE"}` and write "$PROGRAM" here'
)
NAME: Final = "choose among names: `case TEMPLATE in a) name=a;; b) name=b;; *) exit 2;; esac`"
DASHES: Final = "write `--` before it, so that no value is taken for an option: `-- TEMPLATE`"
