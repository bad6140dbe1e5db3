"""Checks the commands of clients and hooks, and what is refused: by role, queue, or terminal."""

from pathlib import Path

import pytest

from tests.cli.calling import PIPELINE, Tpctl, write

pytestmark = pytest.mark.e2e


def test_clients_and_their_roles(
    online: Tpctl, nightly: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = online("client", "create", "watcher", "--role", "viewer", "--max-queued", "5")
    assert made.code == 0
    secret = made.out.split()[-1]
    assert "not shown again" in made.err
    assert "watcher" in online("client", "list").out
    changed = online("client", "update", "watcher", "--max-queued", "none", "--priority", "3")
    assert changed.code == 0
    with monkeypatch.context() as patch:
        patch.setenv("TP_CLIENT_ID", "watcher")
        patch.setenv("TP_CLIENT_SECRET", secret)
        assert online("run", "list").code == 0
        assert online("run", "start", nightly).code == 3  # Not allowed.
        patch.setenv("TP_CLIENT_SECRET", "wrong")
        assert online("run", "list").code == 3  # Not authenticated.
    rotated = online("client", "rotate", "watcher", "-o", "json").row["client_secret"]
    assert rotated not in {None, secret}
    assert online("client", "update", "watcher", "--disabled", "-o", "json").row["enabled"] is False
    assert online("client", "delete", "watcher", "--yes").code == 0
    assert online("client", "delete", "watcher", "--yes").code == 4


def test_a_full_queue_is_a_refusal(
    online: Tpctl, nightly: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = online("client", "create", "tiny", "--role", "submitter", "--max-queued", "0")
    with monkeypatch.context() as patch:
        patch.setenv("TP_CLIENT_ID", "tiny")
        patch.setenv("TP_CLIENT_SECRET", made.out.split()[-1])
        file = write(tmp_path, PIPELINE.replace("nightly", "mine"))
        refused = online("run", "submit", file)
        assert refused.code == 4
        assert "try again in" in refused.err


def test_without_credentials(online: Tpctl, plane: Path, tmp_path: Path) -> None:
    url = next(
        line.split('"')[1]
        for line in (plane / "credentials.toml").read_text().splitlines()
        if line.startswith("url")
    )
    shown = online("run", "list", "--url", url, "--data-dir", tmp_path)
    assert shown.code == 3
    assert "TP_CLIENT_ID" in shown.err


def test_hooks(online: Tpctl, nightly: str) -> None:
    made = online("hook", "create", nightly, "-o", "json")
    assert made.code == 0
    url, hook = str(made.row["url"]), str(made.row["id"])
    assert url.startswith("http://127.0.0.1:")
    assert "/v1/hooks/" in url
    listed = online("hook", "list", nightly)
    assert hook in listed.out.split()
    assert url not in listed.out
    assert online("hook", "delete", nightly, hook, "--yes").code == 0
    assert online("hook", "delete", nightly, hook, "--yes").code == 4


@pytest.mark.parametrize(
    "words",
    [
        ("pipeline", "delete", "NIGHTLY"),
        ("client", "delete", "admin"),
        ("hook", "delete", "NIGHTLY", "1"),
        ("partition", "split", "--slow", "50"),
    ],
)
def test_whatever_asks_is_refused_where_no_terminal_can_answer(
    online: Tpctl, nightly: str, words: tuple[str, ...]
) -> None:
    named = [nightly if word == "NIGHTLY" else word for word in words]
    refused = online(*named)  # Its standard input is no terminal.
    assert refused.code == 2
    assert "add --yes" in refused.err
    assert online("pipeline", "show", nightly).code == 0
