"""Draws the lines around a view: who and where, the tabs, the breadcrumbs, the keys."""

from collections.abc import Sequence
from typing import Final

import msgspec

from control.model.api.live import Pulse
from tui.core.commands import VIEWS
from tui.core.formatting import clock, count, part, took
from tui.core.spans import Line, Span, fit_line, line, spread
from tui.core.store import Store

_LATE_S: Final = 1.5  # From here on frames are behind.
_RECENT: Final = 3  # Pulses that the jobs a second are told of.
_PULSE_S: Final = 10
_NARROW: Final = 110
_BELOW: Final = " \u203a "


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """What the header says of the console itself."""

    context: str
    guarded: bool = False
    read_only: bool = True
    writes_until_ms: int | None = None
    frozen_since_ms: int | None = None
    warnings: int = 0
    replayed: bool = False


def header(store: Store, mode: Mode, width: int, now_ms: int) -> Line:
    """Context, user, link, five numbers, clock."""
    who = store.client_id + (f"·{store.role}" if store.role else "")
    left: list[str | Span] = [
        ("tpctl  ", "bold"),
        (mode.context, "bad" if mode.guarded else "accent"),
        f"  {who} " if who else " ",
        _rights(mode, now_ms),
        "   ",
        *_link(store, mode, now_ms),
    ]
    counts = store.counts
    if width < _NARROW:
        left = [*left[1:2], " ", *left[3:4], "  ", *_link(store, mode, now_ms)]
        if counts is not None:
            left.append(f"  ready {count(counts.waiting)}")
            left.append(f"  running {count(counts.running)}/{count(counts.slots)}")
    elif counts is not None and store.link.state in {"live", "connecting"}:
        per_s, errors = rates(store.pulses)
        left += [
            f"   {count(per_s) if per_s >= 10 else f'{per_s:.1f}'} jobs/s",  # noqa: PLR2004
            "   error ",
            (part(errors), "bad" if errors else ""),
            f"   ready {count(counts.waiting)}",
            f"   running {count(counts.running)}/{count(counts.slots)}",
        ]
    if mode.warnings:
        left += ["   ", (f"▲{mode.warnings}", "warn")]
    right = line((f"{clock(store.server_now(now_ms))}Z ", "dim"))
    return spread(line(" ", *left), right, width)


def rates(pulses: Sequence[Pulse]) -> tuple[float, float]:
    """Jobs ended a second, and the part of attempts that failed, over the last half minute."""
    recent = pulses[-_RECENT - 1 : -1] or pulses
    ended = sum(pulse.ended for pulse in recent)
    attempts = sum(pulse.attempts for pulse in recent)
    errors = sum(pulse.errors for pulse in recent)
    seconds = len(recent) * _PULSE_S
    return (ended / seconds if seconds else 0.0, errors / max(attempts, errors, 1))


def _rights(mode: Mode, now_ms: int) -> Span:
    if mode.replayed:
        return ("[REPLAY]", "warn")
    if mode.read_only:
        return ("[RO]", "dim")
    left_s = max((mode.writes_until_ms or now_ms) - now_ms, 0) // 1000
    return (f"[RW {left_s // 60}m]" if left_s >= 60 else f"[RW {left_s}s]", "bad")  # noqa: PLR2004


def _link(store: Store, mode: Mode, now_ms: int) -> list[Span]:
    link = store.link
    if mode.frozen_since_ms is not None:
        return [(f"‖ FROZEN {took((now_ms - mode.frozen_since_ms) // 1000)}", "warn")]
    if link.state == "connecting":
        return [("◐ connecting", "warn")]
    if link.state == "live":
        if store.behind_s > _LATE_S:
            return [(f"▲ {store.behind_s:.1f}s behind", "warn")]
        return [("● live", "good")]
    next_s = max((link.next_try_ms or now_ms) - now_ms, 0) / 1000
    if link.state == "refused":
        return [(f"✗ refused: {link.why}", "bad")]
    lost_s = (now_ms - link.since_ms) // 1000
    return [(f"○ lost {took(lost_s)}, next try {next_s:.0f}s (ctrl+r)", "bad")]


def tabs(current: str, width: int) -> Line:
    """The six views."""
    spans: list[Span] = []
    for number, (name, title) in enumerate(VIEWS.items(), 1):
        text = f"{number} {title}"
        spans.append((f"[{text}]", "accent") if name == current else (f" {text} ", "dim"))
        spans.append((" ", ""))
    return fit_line(tuple(spans), width)


def crumbs(path: Sequence[str], flash: Span | None, width: int) -> Line:
    """Where one is, and what was said last."""
    left = line((" " + _BELOW.join(path), "dim"))
    return spread(left, line(flash, " ") if flash else (), width)


def keys(shown: Sequence[tuple[str, str]], width: int) -> Line:
    """The keys of the pane in focus, as many as there is room for."""
    spans: list[Span] = [(" ", "")]
    left = width - 1
    for key, word in shown:
        taken = len(key) + len(word) + 3
        if taken > left:
            break
        spans += [(key, "accent"), (f" {word}  ", "dim")]
        left -= taken
    return fit_line(tuple(spans), width)
