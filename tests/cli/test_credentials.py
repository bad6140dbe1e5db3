"""Checks the precedence of settings: flag, environment, file."""

from pathlib import Path

import pytest

from control.cli.credentials import DEFAULT_URL, Login, load_login
from control.model.errors import ConfigError

_FILE = 'url = "http://file:1"\nclient_id = "filed"\nclient_secret = "stored"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "credentials.toml").write_text(_FILE)
    return tmp_path


def load(folder: Path, url: str | None = None, **environ: str) -> Login:
    return load_login(url=url, data_dir=folder, environ=environ)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(folder: Path) -> None:
    assert load(folder).url == "http://file:1"
    assert load(folder, TP_URL="http://env:2/").url == "http://env:2"
    assert load(folder, "https://flag:3", TP_URL="http://env:2").url == "https://flag:3"


def test_credentials_come_from_one_place(folder: Path) -> None:
    login = load(folder, TP_CLIENT_ID="me", TP_CLIENT_SECRET="mine")
    assert (login.url, login.client_id, login.client_secret) == ("http://file:1", "me", "mine")
    for alone in ("TP_CLIENT_ID", "TP_CLIENT_SECRET"):
        with pytest.raises(ConfigError, match="set both or neither"):
            load(folder, **{alone: "x"})


def test_the_data_directory_is_found_in_order(folder: Path, tmp_path: Path) -> None:
    by_environment = load_login(url=None, data_dir=None, environ={"TP_DATA_DIR": str(folder)})
    assert by_environment.client_id == "filed"
    home = tmp_path / "home"
    by_xdg = load_login(url=None, data_dir=None, environ={"XDG_DATA_HOME": str(home)})
    assert by_xdg.file == home / "taskplane" / "credentials.toml"
    assert (by_xdg.url, by_xdg.client_id) == (DEFAULT_URL, None)


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "credentials.toml").write_text("url = ")
    with pytest.raises(ConfigError, match=r"credentials\.toml"):
        load(folder)
    complete = load(folder, "http://a", TP_CLIENT_ID="me", TP_CLIENT_SECRET="mine")
    assert complete.client_id == "me"  # Nothing of the file is needed.


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:port", "http://x:0"])
def test_what_is_no_address_is_refused(folder: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="is not a server's address"):
        load(folder, url)


def test_a_bare_host_is_taken_for_http(folder: Path) -> None:
    assert load(folder, "localhost:8700").url == "http://localhost:8700"
    assert load(folder, "localhost:8700").is_local
    assert not load(folder, "https://plane.example").is_local
