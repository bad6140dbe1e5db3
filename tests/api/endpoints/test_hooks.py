"""Decides what a hook takes, and on whose behalf it starts a run."""

import pytest

from tests.api.serving import PIPELINE, Serving


async def test_hooks_start_runs_of_whoever_made_them(server: Serving) -> None:
    async with server.as_client("submitter") as client, server.as_client(None) as outside:
        await client.put("/v1/pipelines/nightly", json=PIPELINE)
        hook = (await client.post("/v1/pipelines/nightly/hooks")).json()
        listed = (await client.get("/v1/pipelines/nightly/hooks")).json()["items"]
        assert [each["id"] for each in listed] == [hook["id"]]
        assert "token" not in listed[0]
        run = (await outside.post(hook["path"], json={"x": 1})).json()
        assert (run["trigger"], run["client"], run["input"]) == ("hook", "submitter", {"x": 1})
        assert (await outside.post(hook["path"])).json()["input"] is None
        assert (await outside.post("/v1/hooks/wrong")).status_code == 404
        gone = await client.delete(f"/v1/pipelines/nightly/hooks/{hook['id']}")
        assert gone.status_code == 204
        assert (await outside.post(hook["path"])).status_code == 404


@pytest.mark.parametrize(
    ("media", "body", "run_input"),
    [
        ("application/cloudevents+json; charset=utf-8", b'{"id": "1"}', {"id": "1"}),
        ("application/vnd.github+json", b"[1]", [1]),
        (
            "application/x-www-form-urlencoded",
            b"ref=refs%2Fheads%2Fmain&tag=a&tag=%C3%A4&tag=&empty=",
            {"ref": "refs/heads/main", "tag": ["a", "ä", ""], "empty": ""},
        ),
        ("application/x-www-form-urlencoded", b"", None),
    ],
)
async def test_a_hook_takes_what_senders_send(
    server: Serving, media: str, body: bytes, run_input: object
) -> None:
    async with server.as_client("submitter") as client, server.as_client(None) as outside:
        await client.put("/v1/pipelines/nightly", json=PIPELINE)
        hook = (await client.post("/v1/pipelines/nightly/hooks")).json()
        made = await outside.post(hook["path"], content=body, headers={"content-type": media})
        assert (made.status_code, made.json()["input"]) == (201, run_input)


@pytest.mark.parametrize(
    ("media", "body", "status", "reason"),
    [
        ("text/xml", b"<x/>", 415, "application/…+json"),
        ("multipart/form-data; boundary=x", b"--x--", 415, "application/x-www-form-urlencoded"),
        ("application/cloudevents+json", b"{", 400, "not valid JSON"),
        ("application/x-www-form-urlencoded", b"x=%FF", 400, "not valid UTF-8"),
        ("application/x-www-form-urlencoded", b"x=\xff", 400, "not valid UTF-8"),
        ("application/x-www-form-urlencoded", b"x&" * 1001, 422, "at most 1000 fields"),
    ],
)
async def test_a_hook_refuses_what_it_cannot_read(
    server: Serving, media: str, body: bytes, status: int, reason: str
) -> None:
    async with server.as_client("submitter") as client, server.as_client(None) as outside:
        await client.put("/v1/pipelines/nightly", json=PIPELINE)
        hook = (await client.post("/v1/pipelines/nightly/hooks")).json()
        answer = await outside.post(hook["path"], content=body, headers={"content-type": media})
        assert answer.status_code == status
        assert reason in answer.text
        assert (await client.get("/v1/runs")).json()["items"] == []


@pytest.mark.parametrize(
    "media", ["application/json-patch+json", "application/x-www-form-urlencoded"]
)
async def test_only_hooks_take_more_than_json(server: Serving, media: str) -> None:
    async with server.as_client("admin") as client:
        answer = await client.post("/v1/runs", content=b"{}", headers={"content-type": media})
        assert answer.status_code == 415


async def test_a_hook_may_do_no_more_than_whoever_made_it(server: Serving) -> None:
    async with server.as_client("submitter") as client, server.as_client("admin") as admin:
        await client.put("/v1/pipelines/nightly", json=PIPELINE)
        hook = (await client.post("/v1/pipelines/nightly/hooks")).json()
        assert (await admin.post(hook["path"])).status_code == 201
        await admin.patch("/v1/clients/submitter", json={"role": "viewer"})
        assert (await admin.post(hook["path"])).status_code == 404
