"""Decides where a worker keeps its state, and that no result is lost when that place changes."""

from pathlib import Path

import pytest

from control.model.errors import ConfigError
from control.model.worker.isolation import IsolationMode
from workers.config import Flags, WorkerConfig, load_config
from workers.state_directory import Home, open_home

CREDENTIALS = {"TP_CLIENT_ID": "w", "TP_CLIENT_SECRET": "s"}


def load(environ: dict[str, str], **flags: object) -> WorkerConfig:
    return load_config(Flags(urls=["ws://x"], **flags), CREDENTIALS | environ, "host")  # type: ignore[arg-type]


def home(config: WorkerConfig, name: str = "w") -> Home:
    return open_home(
        name=name,
        state_dir=config.state_dir,
        workers_dir=config.workers_dir,
        default_name="host",
        former_dir=config.former_workers_dir,
    )


def test_state_is_outside_of_the_data_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = load({"XDG_STATE_HOME": str(tmp_path / "state")}, data_dir=data)
    assert config.workers_dir.is_relative_to(tmp_path / "state" / "taskplane" / "workers")
    other = load({"XDG_STATE_HOME": str(tmp_path / "state")}, data_dir=tmp_path / "b" / "data")
    assert other.workers_dir != config.workers_dir
    assert data in config.hidden


def test_a_unit_of_systemd_has_a_directory_for_it(tmp_path: Path) -> None:
    config = load({"STATE_DIRECTORY": str(tmp_path)}, data_dir=tmp_path)
    assert config.workers_dir == tmp_path / "workers" == config.former_workers_dir
    found = home(config)  # One place, not two.
    assert found.directory == tmp_path / "workers" / "w"
    found.close()


def test_results_in_the_former_place_are_taken_along(tmp_path: Path) -> None:
    config = load({"XDG_STATE_HOME": str(tmp_path / "state")}, data_dir=tmp_path / "data")
    former = tmp_path / "data" / "workers" / "w" / "results.jsonl"
    former.parent.mkdir(parents=True)
    former.write_text("a result\n")
    found = home(config)
    assert (found.directory / "results.jsonl").read_text() == "a result\n"
    assert not former.exists()
    found.close()
    assert (found.directory / "results.jsonl").exists()  # Nobody has sent it yet.


def test_what_a_worker_of_the_former_version_still_uses_is_left_alone(tmp_path: Path) -> None:
    config = load({"XDG_STATE_HOME": str(tmp_path / "state")}, data_dir=tmp_path / "data")
    assert config.former_workers_dir is not None
    old = open_home(
        name="w", state_dir=config.former_workers_dir / "w", workers_dir=tmp_path, default_name="x"
    )
    (old.directory / "results.jsonl").write_text("a result\n")
    home(config).close()
    assert (old.directory / "results.jsonl").exists()
    old.close()


def test_a_directory_that_nobody_named_goes_away_when_it_is_empty(tmp_path: Path) -> None:
    config = load({"XDG_STATE_HOME": str(tmp_path / "state")}, data_dir=tmp_path / "data")
    found = home(config)
    (found.directory / "results.jsonl").touch()
    found.close()
    assert not config.workers_dir.exists()
    named = home(load({}, data_dir=tmp_path / "data", state_dir=tmp_path / "mine"))
    named.close()
    assert (tmp_path / "mine").is_dir()


def test_one_worker_at_a_time(tmp_path: Path) -> None:
    config = load({"XDG_STATE_HOME": str(tmp_path)}, data_dir=tmp_path / "data")
    found = home(config)
    with pytest.raises(ConfigError, match="another worker uses"):
        home(config)
    found.close()
    home(config).close()


def test_credentials_of_a_file_win_and_are_hidden(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text('client_id = "a"\nclient_secret = "b"\n')
    config = load({"TP_CREDENTIALS_FILE": str(file)})
    assert (config.client_id, config.client_secret) == ("a", "b")
    assert file in config.hidden


def test_how_much_isolation_is_asked_for() -> None:
    assert load({}).isolation is IsolationMode.AUTO
    assert load({"TP_WORKER_ISOLATION": "required"}).isolation is IsolationMode.REQUIRED
    environ = {"TP_WORKER_ISOLATION": "required"}
    assert load(environ, isolation=IsolationMode.NONE).isolation is IsolationMode.NONE
    with pytest.raises(ConfigError, match="'much' is not one of auto, required, none"):
        load({"TP_WORKER_ISOLATION": "much"})
