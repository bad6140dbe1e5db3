"""Owns how a container's log gets into the attempt's log: whole, in order, each line once.

A log is followed while its container runs. A lost connection goes on at the time of the last line;
after the container's end the rest is read without following, so nothing depends on which came
first, the end of the log or the news of the end.
"""

import re
from datetime import UTC, datetime
from typing import Final

import trio

from control.model import limits
from control.model.kinds import Reporter
from workers.kinds.kubernetes.api import PODS, ApiRefusal, ApiUnreachable, KubernetesApi

_STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")
_SECOND_NS: Final = 1_000_000_000
_LINE_BYTES_MAX: Final = limits.LOG_LINE_BYTES_MAX  # A longer one is passed on in pieces.


class ContainerLog:
    """One run of one container. Call `end` when it has ended; `run` returns after its last line."""

    def __init__(
        self, api: KubernetesApi, pod: str, container: str, prefix: str, report: Reporter
    ) -> None:
        """`prefix`: what each line begins with."""
        self._api = api
        self._pod = pod
        self._container = container
        self._prefix = prefix
        self._report = report
        self._ended = trio.Event()
        self._previous = False  # Another run of the container has begun since.
        self._last_ns = 0  # The time of the last line that was passed on,
        self._at_last = 0  # and how many lines of that time were.

    def end(self, *, previous: bool) -> None:
        """Say that this run of the container is over, and whether the next one has begun."""
        self._previous = self._previous or previous
        self._ended.set()

    async def run(self, slots: trio.CapacityLimiter) -> None:
        """Pass the log on; a log that cannot be read is no failure of the job, but noted."""
        async with slots:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow)
                await self._ended.wait()
                nursery.cancel_scope.cancel()
            await self._read_rest()

    async def _follow(self) -> None:
        pause_s = limits.KUBERNETES_PAUSE_MIN_S
        while True:
            try:
                await self._read(follow=True)
            except ApiUnreachable:
                pass  # The watches say so.
            except ApiRefusal as refusal:
                if not refusal.passing:
                    return  # The rest will say why, if it is not to be had either.
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, limits.KUBERNETES_PAUSE_MAX_S)

    async def _read_rest(self) -> None:
        for tries_left in range(limits.KUBERNETES_TRIES - 1, -1, -1):
            try:
                await self._read(follow=False)
            except (ApiUnreachable, ApiRefusal) as trouble:
                passing = isinstance(trouble, ApiUnreachable) or trouble.passing
                if passing and tries_left:
                    await trio.sleep(limits.KUBERNETES_PAUSE_MIN_S)
                    continue
                who = f"container {self._container} of pod {self._pod}"
                await self._report.log(f"the log of {who} ends here: {trouble}\n")
            return

    async def _read(self, *, follow: bool) -> None:
        """Pass on what comes after the last line. Raises ApiRefusal, ApiUnreachable."""
        query = {"container": self._container, "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        elif self._previous:
            query["previous"] = "true"
        if self._last_ns:
            since = datetime.fromtimestamp(self._last_ns // _SECOND_NS, UTC)
            query["sinceTime"] = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        lines = NewLines(self._prefix, self._last_ns, self._at_last)
        async with self._api.open(
            "get", PODS, self._pod, part="log", query=query, silence_s=None
        ) as pieces:
            async for piece in pieces:
                await self._pass_on(lines, lines.feed(piece))
        await self._pass_on(lines, lines.finish())

    async def _pass_on(self, lines: "NewLines", text: str) -> None:
        if text:
            await self._report.log(text)
        self._last_ns, self._at_last = lines.last_ns, lines.at_last


class NewLines:
    """Decides which lines of one reading are new, and makes them text.

    Those up to the place where an earlier reading ended are left out, until the first one after it:
    the times of two streams of one container may be out of order by a little.
    """

    def __init__(self, prefix: str, last_ns: int, at_last: int) -> None:
        self._prefix = prefix
        self._known_ns = last_ns
        self._known_left = at_last
        self._skipping = last_ns > 0
        self._begun = b""  # Of a line whose end has not come.
        self._inside = False  # A long line's first piece was dealt with,
        self._hidden = False  # and left out.
        self.last_ns = last_ns
        self.at_last = at_last

    def feed(self, piece: bytes) -> str:
        """What can be passed on now."""
        *lines, self._begun = (self._begun + piece).split(b"\n")
        text = "".join([self._line(each, "\n") for each in lines])
        if len(self._begun) > _LINE_BYTES_MAX:
            text += self._line(self._begun, "")
            self._begun, self._inside = b"", True
        return text

    def finish(self) -> str:
        """The last line, if it has no end."""
        begun, self._begun = self._begun, b""
        return self._line(begun, "\n") if begun or self._inside else ""

    def _line(self, line: bytes, end: str) -> str:
        beginning = ""
        if not self._inside:
            beginning = self._prefix
            self._hidden = False
            stamp = _STAMP.match(line)
            if stamp is not None:
                self._hidden = self._is_known(_nanoseconds(stamp))
                line = line[stamp.end() :]
        self._inside = False
        return "" if self._hidden else f"{beginning}{line.decode('utf-8', 'replace')}{end}"

    def _is_known(self, at_ns: int) -> bool:
        if self._skipping:
            if at_ns < self._known_ns:
                return True
            if at_ns == self._known_ns and self._known_left:
                self._known_left -= 1
                return True
            self._skipping = False
        if at_ns > self.last_ns:
            self.last_ns, self.at_last = at_ns, 0
        if at_ns == self.last_ns:
            self.at_last += 1
        return False


def _nanoseconds(stamp: re.Match[bytes]) -> int:
    whole, fraction, zone = stamp.groups()
    seconds = int(datetime.fromisoformat((whole + zone).decode()).timestamp())
    return seconds * _SECOND_NS + int((fraction or b"0").ljust(9, b"0"))
