"""Owns the kind `Notification`: one message to a target of the worker's config, through Apprise."""

import logging
import mimetypes
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec
import trio
from msgspec import Meta, Raw

from control.model import limits
from control.model.bus.details import NotificationDetails
from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Reporter, Result
from control.model.worker.settings import SecretUrl, WorkerSettings
from workers.kinds.addresses import hide, unknown
from workers.kinds.extras import needs_extra

if TYPE_CHECKING:
    from apprise import AppriseResult

_PLACE: Final = "{secret}"  # Where a target's URL has its secret, if that is not a password.
_USER: Final = re.compile(r"(?P<user>[A-Za-z0-9+.-]+://[^:@/?]+)@")
_TOKEN_CHARS_MIN: Final = 8  # A part of a URL that is so long may be one.
_URL_IN_WORDS: Final = re.compile(r"with url: \S+")
_CAUSE: Final = "Socket Exception: "
# What a service will answer again: a refusal by HTTP or SMTP, but not one that asks for patience.
_REFUSED: Final = re.compile(r"error=4(?!08|25|29)\d\d|\(5\d\d, b|\{'[^']+': \(5\d\d, b")
_LEVELS: Final = frozenset(("WARNING", "ERROR", "CRITICAL"))
_CHARS_MAX: Final = 1_000  # Of the words of a service.
_threads: Final = trio.CapacityLimiter(2 * limits.SLOTS_MAX)  # Slots are the bound.

FileName = Annotated[str, Meta(pattern=r"^[^/\\\x00-\x1f]{1,128}$")]


class NotificationParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text, and its receivers."""

    target: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.NAME_CHARS_MAX,
            description="A target of the worker's config, by its name.",
            examples=["ops"],
        ),
    ]
    body: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.NOTICE_CHARS_MAX,
            description="The message, as plain text.",
            examples=["The report of ${{ run.day }} is there."],
        ),
    ]
    title: Annotated[
        str,
        Meta(
            max_length=limits.TEXT_CHARS_MAX,
            description="Its title, or an e-mail's subject.",
            examples=["Nightly report"],
        ),
    ] = ""
    attach: Annotated[
        dict[FileName, Any],
        Meta(
            description="Files: the content of each name. A text is as it is, all else JSON.",
            examples=[{"report.csv": "a,b\n1,2\n"}],
        ),
    ] = {}


class _Message(NamedTuple):
    body: str
    title: str
    files: Mapping[str, bytes]


class Notification(Kind[NotificationParams]):
    """Delivers one message."""

    name: ClassVar[str] = "Notification"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Send a message by e-mail, chat, or webhook; no output."
    params = NotificationParams

    def __init__(self) -> None:
        self._targets = WorkerSettings().targets

    def configure(self, settings: WorkerSettings) -> None:
        """Take the targets of the worker's config."""
        self._targets = settings.targets

    async def run(self, job: Job, params: NotificationParams, report: Reporter) -> Result:  # noqa: ARG002 - The interface of all kinds.
        """Send it. A message under way is not called back: when cancelled, it may yet arrive."""
        address = self._targets.get(params.target)
        if address is None:
            raise unknown("target", params.target, self._targets)
        url = _url(params.target, address)
        title = " ".join(params.title.split())  # One line, of whatever was filled in.
        files = {name: _content(value) for name, value in params.attach.items()}
        message = _Message(body=params.body, title=title, files=files)

        def send() -> tuple[str, str | None]:  # Apprise loads all its services at first.
            return _send(params.target, url, message)

        service = ""
        reason: str | None = f"not answered within {limits.NOTIFY_S:g} s"
        with trio.move_on_after(limits.NOTIFY_S):
            service, answer = await trio.to_thread.run_sync(
                send, abandon_on_cancel=True, limiter=_threads
            )
            reason = answer and hide(answer, _secrets(url, address))
        details = NotificationDetails(
            target=params.target,
            service=service,
            title=title,
            size=len(params.body.encode()),
            attachments={name: len(content) for name, content in files.items()},
            delivered=reason is None,
            reason=reason,
        )
        more = Raw(msgspec.json.encode(details))
        if reason is not None:
            msg = f"not delivered to {params.target}: {reason}"
            raise JobFailed(msg, final=_REFUSED.search(reason) is not None, details=more)
        await report.log(f"delivered to {params.target} ({service})\n")
        return Result(details=more)


def _url(name: str, address: SecretUrl) -> str:
    """The address with its secret, in the place that has a mark, or as the user's password."""
    if address.secret is None:
        return address.url
    secret = quote(address.secret, safe="")
    if _PLACE in address.url:
        return address.url.replace(_PLACE, secret)
    url, places = _USER.subn(lambda match: f"{match['user']}:{secret}@", address.url, count=1)
    if not places:
        msg = (
            f"the target {name} has a secret, but its URL has no place for it; write {_PLACE} "
            "where it belongs, or a user's name before an @"
        )
        raise JobFailed(msg, final=True)
    return url


def _secrets(url: str, address: SecretUrl) -> Iterator[str]:
    """What of a URL must not be in any words: a token may be in any part of it but the host."""
    if address.secret is not None:
        yield from (address.secret, quote(address.secret, safe=""))
    _, _, rest = url.partition("://")
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    for part in re.split(r"[/?&=@:#,]", rest):
        is_host = part.lower() == host and ("." in host or host == "localhost")
        if len(part) >= _TOKEN_CHARS_MIN and not is_host:
            yield part
    parts = urlsplit(f"x://{rest.partition('/')[0]}") if "@" in rest else None
    if parts is not None and parts.password:
        yield parts.password


def _content(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _send(target: str, url: str, message: _Message) -> tuple[str, str | None]:
    """Return what the service is called, and why it did not take the message; raises JobFailed."""
    with needs_extra("notify", "the kind Notification"):
        import apprise  # noqa: PLC0415 - Loaded when a job needs it.
        from apprise.attachment.memory import AttachMemory  # noqa: PLC0415 - As above.
    _log_to_results_only()
    asset = apprise.AppriseAsset(
        app_id="Taskplane",
        app_desc="Taskplane",
        app_url="",
        image_url_mask="",  # Messages show no picture of another host's.
        image_url_logo="",
        async_mode=False,  # In this thread, whose end is waited for.
        service_timeout=0,  # The caller has a limit.
        allow_templates=False,
        storage_mode="memory",
    )
    plugin = apprise.Apprise.instantiate(url, asset=asset)
    if plugin is None:
        msg = f"the URL of the target {target} is none that Apprise knows, or it is not complete"
        raise JobFailed(msg, final=True)
    service = str(plugin.service_name)
    if message.files and not plugin.attachment_support:
        msg = f"the target {target} ({service}) takes no files; leave `attach` out"
        raise JobFailed(msg, final=True)
    attachments = apprise.AppriseAttachment()
    for name, content in message.files.items():
        attachments.add(AttachMemory(content, name=name, mimetype=_media_type(name)))  # type: ignore[no-untyped-call]
    sender = apprise.Apprise(asset=asset)
    sender.add(plugin)
    result = sender.notify(
        body=message.body,
        title=message.title,
        body_format=apprise.NotifyFormat.TEXT,  # So services escape what is markup to them.
        attach=attachments if message.files else None,
        log_level=logging.DEBUG,  # Which has the causes.
    )
    return service, None if result else _reason(result)


def _log_to_results_only() -> None:
    """Let Apprise write down causes, which it logs for debugging; they are in no other log."""
    logger = logging.getLogger("apprise")
    if logger.propagate:
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.DEBUG)


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _reason(result: "AppriseResult") -> str:
    """What Apprise logged of a delivery that failed; not its lines about what it was to send."""
    words = []
    for entry in result.logs():
        if entry.level in _LEVELS:
            words.append(entry.message.rstrip("."))
        elif entry.message.startswith(_CAUSE):
            words.append(entry.message.removeprefix(_CAUSE))
    text = _URL_IN_WORDS.sub("with url: ***", "; ".join(words)) or "Apprise does not say why"
    return text if len(text) <= _CHARS_MAX else text[:_CHARS_MAX] + "…"
