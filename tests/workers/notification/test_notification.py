"""Decides what `Notification` delivers, to real servers, and what it says when it cannot."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from control.model.errors import JobFailed
from control.model.worker.settings import SecretUrl
from tests.workers.kind_runs import Runs, details
from tests.workers.notification.receivers import Mail, Web

pytestmark = [
    # Apprise loads it where Python still has it.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
    # Here all is on loopback.
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
]

ROOT = Path(__file__).parents[3]
_PATIENCE_S = 60
Notify = Callable[..., Runs]


async def failure(runs: Runs, **params: object) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        await runs(**{"target": "ops", "body": "Hello"} | params)
    return caught.value


def to_mail(mail: Mail, password: str = "s3cret") -> SecretUrl:
    url = f"mailto://ann@127.0.0.1:{mail.port}/?to=ops@example.com&from=ann@example.com&smtp=127.0.0.1"
    return SecretUrl(url, password)


async def test_an_email_with_files(notify: Notify, mail: Mail) -> None:
    runs = notify(ops=to_mail(mail))
    body = "It failed: <b>1 & 2</b>\nfor Jürgen"
    result = await runs.raw(
        {"target": "ops", "title": "Nightly\r\nBcc: eve@example.com", "body": body}
        | {"attach": {"rows.csv": "a,b\n1,2\n", "output.json": {"rows": [[1]]}}}
    )
    (message,) = mail.messages
    assert message["subject"] == "Nightly Bcc: eve@example.com"
    assert "bcc" not in message
    assert message["to"] == "ops@example.com"
    text = message.get_body(("plain", "html"))
    assert text is not None
    assert text.get_content().replace("\r\n", "\n").strip() == body
    files = {
        each.get_filename(): each.get_payload(decode=True) for each in message.iter_attachments()
    }
    assert files == {"rows.csv": b"a,b\n1,2\n", "output.json": b'{"rows":[[1]]}'}
    assert json.loads(bytes(result.output)) is None
    assert details(result) == {
        "target": "ops",
        "service": "E-Mail",
        "title": "Nightly Bcc: eve@example.com",
        "size": len(body.encode()),
        "attachments": {"rows.csv": 8, "output.json": 14},
        "delivered": True,
        "reason": None,
    }
    assert runs.report.text == "delivered to ops (E-Mail)\n"


async def test_bad_credentials_are_final_and_stay_secret(notify: Notify, mail: Mail) -> None:
    error = await failure(notify(ops=to_mail(mail, "wr0ng-s3cret")))
    assert "not delivered to ops: " in str(error)
    assert "(535, " in str(error)
    assert "wr0ng" not in str(error)
    assert error.final
    more = details(error)
    assert (more["delivered"], more["reason"]) == (False, str(error).partition(": ")[2])


async def test_a_webhook(notify: Notify, web: Web) -> None:
    await notify(ops=web.url)(target="ops", title="Report", body="${NAME} {{x}} :smile: <b>")
    (request,) = web.requests
    assert request.path == "/hook"
    assert request.json == {
        "version": "1.0",
        "title": "Report",
        "message": "${NAME} {{x}} :smile: <b>",
        "attachments": [],
        "type": "info",
    }


@pytest.mark.parametrize(
    ("status", "final"),
    [(400, True), (401, True), (404, True), (408, False), (429, False), (500, False)],
)
async def test_a_refusal_says_whether_to_try_again(
    notify: Notify, web: Web, status: int, final: bool
) -> None:
    web.status = status
    error = await failure(notify(ops=web.url))
    assert f"error={status}" in str(error)
    assert error.final is final


async def test_slack_gets_its_own_shape_and_no_mention(notify: Notify, web: Web) -> None:
    token = "TIiajkdnlazkcOXrIdevi7FQ"
    url = "slack://T1JJ3T3L2/A1BRTD4JD/{secret}"
    await notify(ops=SecretUrl(url, token))(
        target="ops", title="Report", body="<!channel> done & ok"
    )
    (request,) = web.requests
    assert (request.host, request.path) == (
        "hooks.slack.com",
        f"/services/T1JJ3T3L2/A1BRTD4JD/{token}",
    )
    (attachment,) = request.json["attachments"]
    assert attachment["title"] == "Report"
    assert attachment["text"] == "&lt;!channel&gt; done &amp; ok"
    web.status = 404
    error = await failure(notify(ops=SecretUrl(url, token)))
    assert error.final
    assert token not in str(error)


async def test_teams_gets_an_adaptive_card(notify: Notify, web: Web) -> None:
    host = "prod-1.westeurope.logic.azure.com"
    url = f"workflows://{host}:443/0123456789abcdef0123456789abcdef/{{secret}}/"
    runs = notify(ops=SecretUrl(url, "sIgnaturE-s3cret"))
    await runs(target="ops", title="Report", body="done [x](http://y)")
    (request,) = web.requests
    assert request.host == host
    assert "sig=sIgnaturE-s3cret" in request.path
    (attachment,) = request.json["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    texts = [each["text"] for each in attachment["content"]["body"]]
    assert texts == ["Report", r"done \[x\]\(http://y\)"]


async def test_files_that_a_service_does_not_take_are_refused(notify: Notify) -> None:
    url = "workflows://prod-1.westeurope.logic.azure.com/0123456789abcdef/signature/"
    error = await failure(notify(ops=url), attach={"a.txt": "a"})
    assert "takes no files; leave `attach` out" in str(error)
    assert error.final


async def test_an_unreachable_service_may_be_tried_again(notify: Notify) -> None:
    error = await failure(notify(ops="json://ann:s3cret-s3cret@127.0.0.1:1/t0ken-t0ken-t0ken"))
    assert "refused" in str(error)
    assert "s3cret" not in str(error)
    assert "t0ken" not in str(error)
    assert not error.final


async def test_a_slow_service_is_not_waited_for(notify: Notify, web: Web) -> None:
    web.may_answer.clear()
    error = await failure(notify(ops=f"{web.url}?rto=0.2"))
    assert "timed out" in str(error).lower()
    assert not error.final


async def test_a_job_that_is_cancelled_or_times_out_ends_at_once(notify: Notify, web: Web) -> None:
    """What is under way is not called back."""
    web.may_answer.clear()
    runs = notify(ops=f"{web.url}?rto=30")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runs.raw, {"target": "ops", "body": "Hello"})
            await trio.to_thread.run_sync(web.arrived.wait)
            nursery.cancel_scope.cancel()
    assert len(web.requests) == 1


async def test_a_large_body_is_delivered_whole(notify: Notify, web: Web) -> None:
    body = "ü" * 500_000
    result = await notify(ops=web.url).raw({"target": "ops", "body": body})
    assert web.requests[0].json["message"] == body
    assert details(result)["size"] == 1_000_000


KILLED = """
import pathlib, sys, trio
from control.model.worker.settings import SecretUrl, WorkerSettings
from tests.workers.kind_runs import Runs, details
from workers.kinds.notification import Notification
kind = Notification()
kind.configure(WorkerSettings(targets={"ops": SecretUrl(sys.argv[1])}))
trio.run(Runs(kind, pathlib.Path(sys.argv[2])).raw, {"target": "ops", "body": "Hello"})
"""


async def test_a_message_of_a_killed_worker_is_sent_again(
    notify: Notify, web: Web, tmp_path: Path
) -> None:
    web.may_answer.clear()
    url = f"{web.url}?rto=30"
    command = [sys.executable, "-c", KILLED, url, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT) as worker:  # noqa: ASYNC220 - It returns at once.
        assert await trio.to_thread.run_sync(web.arrived.wait, _PATIENCE_S)
        worker.kill()
    web.may_answer.set()
    await notify(ops=url)(target="ops", body="Hello")
    assert [each.json["message"] for each in web.requests] == ["Hello", "Hello"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (SecretUrl("nothing://x"), "the URL of the target ops is none that Apprise knows"),
        (SecretUrl("slack://"), "the URL of the target ops is none that Apprise knows"),
        (SecretUrl("json://127.0.0.1/", "s3cret"), "its URL has no place for it; write {secret}"),
    ],
)
async def test_an_address_that_is_none(notify: Notify, address: SecretUrl, words: str) -> None:
    error = await failure(notify(ops=address))
    assert words in str(error)
    assert "s3cret" not in str(error)
    assert error.final


async def test_an_unknown_target_is_final_and_names_the_known(notify: Notify) -> None:
    error = await failure(notify(b="json://x", a="json://x"))
    assert 'no target "ops"; it has a, b' in str(error)
    assert error.final


async def test_a_missing_extra_is_named(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    error = await failure(notify(ops="json://x"))
    assert "pip install '.[notify]' in a clone" in str(error)
    assert error.final
