"""Owns the made-up system's runs: deploy-web under way, and what was before it."""

from typing import Final

import msgspec

from bench.shots.moments import at, maybe
from control.model.api.explanation import Explanation
from control.model.api.views import AttemptView, JobView, RunView, StageView
from control.model.numbers import JobId, RunId
from control.model.states import Outcome, State, Trigger

RUN_ID: Final = 90412
CHROME_ID: Final = 81301
SAFARI_ID: Final = 81305
_NULL: Final = msgspec.Raw(b"null")
_WORDS: Final = {
    "d": State.DONE,
    "i": State.IN_PROGRESS,
    "r": State.READY,
    "x": State.ERROR,
    "c": State.CANCELLED,
}
_MEDIA: Final = ("media", Trigger.HOOK, 20)
_ACME: Final = ("acme", Trigger.SCHEDULE, 10)
_OLD: Final = (
    ("poll-imap", ("ops", Trigger.SCHEDULE, 5), "poll=d1", 4),
    ("thumbs", _ACME, "make=d900", 35),
    ("mail-digest", _ACME, "collect=d1 send=d24", 2),
    (
        *("deploy-web", ("ops", Trigger.HOOK, 1)),
        *("checkout=d1 build=d3 test=d31 stage=d27 publish=d2", 441),
    ),
    ("billing-sync", _ACME, "pull=d4 post=d4", 71),
    ("cache-warm", ("ops", Trigger.SCHEDULE, 20), "warm=d40", 702),
)


def runs() -> list[RunView]:
    """All that are known, the newest first."""
    ops, acme, media = ("ops", Trigger.API, 1), ("acme", Trigger.SCHEDULE, 10), _MEDIA
    tests = "checkout=d1 build=d3 test="
    new = [
        _run(90413, "poll-imap@1", ("ops", Trigger.SCHEDULE, 5), "poll=r1", (-1, None)),
        _run(
            *(RUN_ID, "deploy-web@31", ops, f"{tests}d27,i2,r2 stage=r27 publish=r2", (-252, None)),
            eta=180,
        ),
        _run(
            *(90410, "nightly-report@4", acme, "pull=d4 render=d4,i20 send=r12", (-760, None)),
            eta=540,
        ),
        _run(
            *(90407, "import-crm@12", ("acme", Trigger.MANUAL, 10)),
            *("fetch=d12 clean=d40 load=d3,i1 check=r1", (-542, None)),
            reason="try 2 of 5",
        ),
        _run(
            *(90401, "thumbs@2", ("acme", Trigger.API, 10), "make=d1212,i118,r7670"),
            (-1875, None),
            eta=11_400,
        ),
        _run(90399, "report-daily@9", acme, "pull=d40 join=d40 render=d31 send=d1", (-364, -3)),
        _run(90397, "media@7", media, "split=d20 encode=i4,r209 join=r1", (-1290, None)),
        _run(
            *(90396, "deploy-web@31", ("ops", Trigger.PIPELINE, 1)),
            *(f"{tests}d30,x1 stage=d27 publish=d2", (-727, -295)),
            allowed=1,
        ),
        _run(
            *(90395, "thumbs@2", ("acme", Trigger.API, 10), "scan=d4 make=c5", (-773, -732)),
            reason="cancelled by bob",
        ),
        _run(
            *(90394, "media@6", media, "split=d20 encode=x1 join=c43", (-1900, -1209)),
            reason="job transcode failed: exit code 137",
        ),
    ]
    return new + [_clip(number) for number in range(12)] + [_old(each) for each in range(180)]


def _clip(number: int) -> RunView:
    """One of those that keep the slow lanes busy."""
    stages = f"split=d4 encode=d{number},i1,r{20 - number} join=r1"
    return _run(90393 - number, "clip@3", _MEDIA, stages, (-1910 - 31 * number, None), eta=900)


def _old(number: int) -> RunView:
    name, whose, stages, seconds = _OLD[number % len(_OLD)]
    begin = -2300.0 - number * 97
    return _run(
        *(90381 - number, f"{name}@{number % 4 + 1}", whose, stages, (begin, begin + seconds))
    )


def _run(
    run_id: int,
    name: str,
    whose: tuple[str, Trigger, int],
    stages: str,
    seconds: tuple[float, float | None],
    *,
    eta: float | None = None,
    reason: str = "",
    allowed: int = 0,
) -> RunView:
    """`whose`: client, trigger, priority; `seconds`: from now on, of its begin and its end.

    `stages`: `build=d3,i1` is a stage with three jobs that are done, and one under way.
    """
    pipeline, _, revision = name.partition("@")
    begin, end = seconds
    views = [_stage(each) for each in stages.split()]
    state = _state_of(views, ended=end is not None, allowed=allowed)
    return RunView(
        id=RunId(run_id),
        pipeline=pipeline,
        revision=int(revision),
        client=whose[0],
        trigger=whose[1],
        state=state,
        reason=reason,
        priority=whose[2],
        input=_NULL,
        allowed_failures=allowed,
        created_at=at(begin),
        started_at=None if state == State.READY else at(begin),
        finished_at=maybe(end),
        stages=views,
        expected_seconds=eta,
    )


def _stage(text: str) -> StageView:
    name, _, counts = text.partition("=")
    return StageView(
        name=name, counts={_WORDS[each[0]]: int(each[1:]) for each in counts.split(",")}
    )


def _state_of(stages: list[StageView], *, ended: bool, allowed: int) -> State:
    seen = {state for stage in stages for state in stage.counts}
    if not ended:
        return State.READY if seen == {State.READY} else State.IN_PROGRESS
    if State.ERROR in seen and not allowed:
        return State.ERROR
    return State.CANCELLED if State.CANCELLED in seen else State.DONE


def jobs() -> list[JobView]:
    """The 64 jobs of deploy-web."""
    made = [
        _job(81250, "clone", "checkout", -252, -251.5, -243),
        _job(81251, "api", "build", -243, -242, -180),
        _job(81252, "web", "build", -243, -242, -130),
        _job(81253, "worker", "build", -243, -238, -180),
    ]
    made += [
        _job(81260 + each, f"unit-{each:02d}", "test", -130, -120 + each, -100 + each * 1.1)
        for each in range(1, 21)
    ]
    made += [
        _job(81281 + place, name, "test", -130, -129, -129 + 12 + place)
        for place, name in enumerate(
            ("lint", "types", "audit", "licences", "docs", "size", "links")
        )
    ]
    safari = AttemptView(
        attempt=1,
        outcome=Outcome.FAILED,
        worker="w-33",
        partition=8,
        error="exit code 1: no display",
        exit_code=1,
        log_bytes=4096,
        started_at=at(-131),
        finished_at=at(-78),
    )
    made += [
        _job(CHROME_ID, "e2e-chrome", "test", -130, -128, worker="w-22", log=81_204),
        _job(81303, "e2e-firefox", "test", -131, -131, worker="w-22", log=70_000),
        msgspec.structs.replace(
            _job(SAFARI_ID, "e2e-safari", "test", -48),
            attempt=2,
            attempts=[safari],
            reason="no free slot",
        ),
        _job(81306, "load", "test", reason="waits for e2e-chrome, e2e-firefox"),
    ]
    made += [_job(81310 + each, f"deploy-eu-{each:02d}", "stage") for each in range(1, 14)]
    made += [_job(81330 + each, f"deploy-us-{each:02d}", "stage") for each in range(1, 14)]
    made += [
        _job(81350, "smoke", "stage"),
        _job(81351, "promote", "publish"),
        _job(81352, "rollback", "publish"),
    ]
    return made


def _job(
    job_id: int,
    name: str,
    stage: str,
    *seconds: float,
    worker: str | None = None,
    reason: str = "",
    log: int = 900,
) -> JobView:
    """`seconds`: from now on, of its being ready, its begin, and its end, as far as it came."""
    ready, begun, ended = (*seconds, None, None, None)[:3]
    state = State.READY if begun is None else State.IN_PROGRESS
    return JobView(
        id=JobId(job_id),
        run_id=RunId(RUN_ID),
        name=name,
        stage=stage,
        kind="Shell",
        version="1.0.0",
        state=State.DONE if ended is not None else state,
        reason=reason or ("waits for an earlier stage" if ready is None else ""),
        priority=1,
        attempt=1,
        retry_attempt=2,
        worker=worker or (None if begun is None else "w-33"),
        partition=None if begun is None else 8,
        progress=None,
        output=_NULL,
        error=None,
        created_at=at(-252),
        ready_at=maybe(ready),
        started_at=maybe(begun),
        finished_at=maybe(ended),
        exit_code=0 if ended is not None else None,
        log_bytes=log if begun is not None else 0,
    )


def log_of_chrome() -> str:
    """What e2e-chrome has written."""
    steps = [
        f"12:39:{number:02d}.{number * 37 % 1000:03d} step {number - 8}/31 search: page {number}"
        for number in range(9, 21)
    ]
    return "\n".join(
        [
            *steps,
            "12:40:59.120 step 14/31 checkout flow: card payment",
            "12:41:01.447 WARN slow selector .pay-button 1.9s",
            "12:41:02.020 step 15/31 checkout flow: 3-D Secure",
            "12:41:03.310 ERR net::ERR_TIMED_OUT https://bank.example/3ds (attempt 1/3)",
            "12:41:05.900 ERR net::ERR_TIMED_OUT https://bank.example/3ds (attempt 2/3)",
            "12:41:06.871 step 15/31 retrying with new session",
            "12:41:07.015 step 16/31 basket restore",
            "",
        ]
    )


def explanations() -> dict[int, Explanation]:
    """Why some jobs are where they are, by their ids."""
    return {
        CHROME_ID: Explanation(
            reason="runs on w-22 since 2m08s; it should take 3m10s",
            steps=[
                "submitted at 2026-10-22T12:36:55.000Z by ops",
                "waited 2m02s for the stage build",
                "READY at 2026-10-22T12:38:57.000Z",
                "counts as slow: 14 earlier attempts took 3m10s at the 75th percentile",
                "placed in p8 after 2.0 s: no slow slot was free",
                "given to w-22, the only worker with label chrome",
            ],
        ),
        81190: Explanation(
            reason="runs on w-45 for 20m00s; p99 of media/transcode is 9m06s",
            steps=[
                "submitted at 2026-10-22T12:19:37.000Z by media",
                "READY at 2026-10-22T12:20:51.000Z",
                "counts as slow: 412 earlier attempts took 41.2 s at the 95th percentile",
                "placed in p9 after 16 s, behind 11 jobs of clients with a smaller priority",
                "began on w-45 at 2026-10-22T12:21:07.000Z",
                "has no time-out: it may run for ever",
            ],
        ),
        SAFARI_ID: Explanation(
            reason="waits: no free slot; 0 jobs come before it",
            steps=[
                "submitted at 2026-10-22T12:36:55.000Z by ops",
                "attempt 1 failed on w-33 after 53 s: exit code 1: no display",
                "READY again at 2026-10-22T12:40:19.000Z",
                "counts as slow: it should take 2m10s",
            ],
        ),
    }
