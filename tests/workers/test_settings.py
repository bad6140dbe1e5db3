"""Decides what a worker's config file allows its kinds, and that its secrets stay there."""

from pathlib import Path

import msgspec
import pytest

from control.model.config import load_config as load_control_config
from control.model.errors import ConfigError
from control.model.worker.settings import SecretUrl
from control.process.local_worker import check_local_worker
from workers.config import Flags, WorkerConfig, load_config

_ENVIRON = {"TP_CLIENT_ID": "w", "TP_CLIENT_SECRET": "s", "HOME": "/nonexistent"}
_TABLES = """
[{0}connections.sales]
url = "postgresql+psycopg://ann@db/sales"
password_env = "SALES"

[{0}targets.ops]
url = "mailto://ops@example.com"
password_file = "{1}"

[{0}container]
engine = "podman"
mounts = ["/srv/data"]
"""


def _load(path: Path, *, flags: Flags | None = None, **environ: str) -> WorkerConfig:
    chosen = flags or Flags()
    flags = msgspec.structs.replace(chosen, urls=["ws://127.0.0.1:1"], config=path)
    return load_config(flags, _ENVIRON | environ, "host")


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "worker.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_worker_reads_its_connections_and_their_secrets(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n", "utf-8")
    path = _write(tmp_path, "slots = 3\nlabels = ['gpu']\n" + _TABLES.format("", secret))
    config = _load(path, SALES="12345")
    assert (config.slots, config.labels) == (3, ("gpu",))
    sales = config.settings.connections["sales"]
    assert sales == SecretUrl("postgresql+psycopg://ann@db/sales", "12345")
    assert config.settings.targets["ops"].secret == "open sesame"
    assert config.settings.container.engine == "podman"
    assert {path, secret} <= set(config.hidden)
    assert "12345" not in repr(config)
    assert "db/sales" not in repr(config)
    assert _load(path, flags=Flags(slots=1), SALES="").slots == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[connections.a]\nurl = 'x'\npassword_env = 'NONE'", "connections.a: the environment has"),
        ("[targets.a]\nurl = 'x'\npassword_file = '/nonexistent/s'", "targets.a: cannot read"),
        ("[targets.a]\nurl='x'\npassword_file='s'\npassword_env='S'", "not both"),
        ("[connections.a]\nuri = 'x'", "unknown field `uri`"),
        ("[connections]\n'a b' = {url = 'x'}", "matching regex"),
        ("[container]\nengine = 'lxc'", "Invalid enum value 'lxc'"),
        ("[kubernets]", "unknown field `kubernets`"),
        ("slots = 0", ">= 1"),
        ("slots", "worker.toml"),
    ],
)
def test_a_wrong_config_file_is_refused_in_words(tmp_path: Path, text: str, problem: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(ConfigError, match=problem):
        _load(path)


def test_the_local_worker_gets_what_the_control_planes_file_says_of_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s", "utf-8")
    path = _write(tmp_path, "workers = 1\n" + _TABLES.format("worker.", secret))
    config = load_control_config({"data_dir": str(tmp_path)}, {}, path)
    with pytest.raises(ConfigError, match=r"connections\.sales: the environment has no SALES"):
        check_local_worker(config)
    assert config.worker_tables.container.mounts == ("/srv/data",)


def test_tpctl_up_sends_settings_with_the_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = msgspec.json.encode({"connections": {"a": {"url": "sqlite://"}}}).decode()
    path = tmp_path / "credentials.toml"
    path.write_text(f"settings = {msgspec.json.encode(tables).decode()}\n", "utf-8")
    flags = Flags(urls=["ws://127.0.0.1:1"], credentials=path)
    monkeypatch.setenv("TP_CLIENT_ID", "unused")
    with pytest.raises(ConfigError, match="no credentials"):
        load_config(flags, _ENVIRON, "host")
    login = "client_id = 'w'\nclient_secret = 's'\n"
    path.write_text(login + path.read_text("utf-8"), "utf-8")
    assert load_config(flags, _ENVIRON, "host").settings.connections["a"].url == "sqlite://"
