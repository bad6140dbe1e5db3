"""Owns the local worker of `tpctl up --workers N`: as whom it runs, and which secret it gets.

It knows no secret but its own, and that one goes through a pipe: command lines and environments
can be read by others.
"""

import hashlib
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from control.model import limits
from control.model.config import KAFKA_VARIABLES, Config
from control.model.errors import ConfigError
from control.model.names import (
    CREDENTIALS_FILE,
    ENV_CLIENT_ID,
    ENV_CLIENT_SECRET,
    ENV_CREDENTIALS,
    ENV_STATE_HOME,
    RESULTS_FILE,
)
from control.model.worker.isolation import IsolationMode
from control.model.worker.settings import settings_of
from control.process import data_directory
from workers.isolation.launcher import lacking

LOG = structlog.get_logger("control")
_NAME: Final = "local"
# Where workers of other users keep their state; root's own directories are closed to them.
_SHARED_STATE: Final = Path("/var/lib")
_TRY_CODE: Final = "import workers.app"
_TRY_DIRECTORY: Final = "import os, sys; os.listdir(sys.argv[1])"
_SECRETS: Final = (ENV_CLIENT_ID, ENV_CLIENT_SECRET, ENV_CREDENTIALS, KAFKA_VARIABLES)


def check_local_worker(config: Config) -> None:
    """Raise `ConfigError` where the local worker cannot run as it shall."""
    if not config.workers:
        return
    settings_of(config.worker_tables, os.environ)
    if config.worker_user is not None:
        user = _user(config.worker_user)
        _try_out(user, _environ_of(user, os.environ), _TRY_CODE)
    missing = lacking()
    if config.worker_isolation is IsolationMode.REQUIRED and missing:
        message = f"--worker-isolation required: {'; '.join(missing)}"
        raise ConfigError(message)


class LocalWorker:
    """The worker of this process: started, started again when it ends by itself, drained."""

    def __init__(self, config: Config, umask: int) -> None:
        """`umask`: what its jobs shall have; ours is stricter."""
        self._config = config
        self._umask = umask
        self.failing: str | None = None  # What is wrong, in words; None: it runs.

    async def run(self, gateway: str, login: tuple[str, str] | None) -> None:
        """Have it run until cancelled, then drain it. Raises `ConfigError`.

        `login`: its client id and secret; None: the state is elsewhere, so an operator has made
        them.
        """
        start = await self._starter(gateway, login)
        pause_s = limits.WORKER_AGAIN_MIN_S
        while True:
            began = trio.current_time()
            try:
                reason = _end_of(await start())
            except OSError as error:  # This process has no descriptor left, or the system no room.
                reason = f"cannot be started: {error.strerror}"
            if trio.current_time() - began > limits.WORKER_AGAIN_MAX_S:
                pause_s = limits.WORKER_AGAIN_MIN_S
            self.failing = f"the local worker {reason}; it is started again in {pause_s:g} s"
            LOG.error("worker.ended", reason=self.failing)
            await trio.sleep(pause_s)
            self.failing = None
            pause_s = min(2 * pause_s, limits.WORKER_AGAIN_MAX_S)

    async def _starter(
        self, gateway: str, login: tuple[str, str] | None
    ) -> Callable[[], Awaitable[int]]:
        """What runs it once, and gives how it ended, as of a process. Raises `ConfigError`."""
        config = self._config
        client_id, secret = login or _operators(config)
        command = [sys.executable, "-P", "-m", "workers", "--url", gateway, "--credentials", "-"]
        command += ["--slots", str(config.workers), "--name", _NAME, "--data-dir", config.data_dir]
        command += ["--isolation", config.worker_isolation]
        if config.secret_file is not None:
            command += ["--hide", config.secret_file]
        if sys.platform == "linux":
            command += ["--parent", str(os.getpid())]
        user: pwd.struct_passwd | None = None
        environ = {name: each for name, each in os.environ.items() if not name.startswith(_SECRETS)}
        if config.worker_user is not None:
            user = _user(config.worker_user)
            state = _state_of(user, config.directory)
            environ = _environ_of(user, environ)
            command += ["--state-dir", str(state)]
            await trio.to_thread.run_sync(_try_out, user, environ, _TRY_DIRECTORY, str(state))
        settings = msgspec.json.encode(config.worker_tables).decode()
        text = (
            f"client_id = {json.dumps(client_id)}\nclient_secret = {json.dumps(secret)}\n"
            f"settings = {json.dumps(settings)}\n"
        )

        async def run_once() -> int:
            # A Ctrl-C goes to all of a terminal's foreground; the worker gets one SIGTERM, from us.
            ended = await trio.run_process(
                command,
                stdin=text.encode(),
                check=False,
                deliver_cancel=_drain,
                start_new_session=True,
                env=environ,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=user and [],
                cwd=user and "/",
                umask=self._umask,
            )
            return ended.returncode

        return run_once


def _end_of(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by signal {-returncode}"
    return f"ended with exit code {returncode}"


def _operators(config: Config) -> tuple[str, str]:
    client_id = os.environ.get(ENV_CLIENT_ID, "")
    secret = os.environ.get(ENV_CLIENT_SECRET, "")
    if not client_id or not secret:
        client_id, secret = data_directory.stored_credentials(config.directory / CREDENTIALS_FILE)
    if not client_id or not secret:
        message = (
            "--workers: the clients are kept elsewhere, so the local worker needs "
            f"{ENV_CLIENT_ID} and {ENV_CLIENT_SECRET} of a client with the role worker"
        )
        raise ConfigError(message)
    return client_id, secret


def _user(name: str) -> pwd.struct_passwd:
    if os.geteuid() != 0:
        message = f"--worker-user {name}: only root can start a worker as another user"
        raise ConfigError(message)
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        message = f"--worker-user {name}: this host has no such user"
        raise ConfigError(message) from error
    if user.pw_uid == 0:
        message = f"--worker-user {name}: this is root; name a user with fewer rights"
        raise ConfigError(message)
    return user


def _state_of(user: pwd.struct_passwd, data_dir: Path) -> Path:
    """The directory of the worker's state, made for its user; raises `ConfigError`."""
    base = Path(os.environ.get(ENV_STATE_HOME) or _SHARED_STATE) / "taskplane-workers"
    mark = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:8]
    state = base / f"{data_dir.resolve().name}-{mark}-{user.pw_name}"
    former = data_dir / "workers" / _NAME / RESULTS_FILE
    try:
        for folder in (*reversed(base.parents), base):
            if not folder.exists():  # Its users must get through to what is theirs.
                folder.mkdir()
                folder.chmod(0o755)
        state.mkdir(mode=0o700, exist_ok=True)
        os.chown(state, user.pw_uid, user.pw_gid, follow_symlinks=False)
        if former.exists():  # Of version 0.1; the worker itself could not read it any more.
            results = state / RESULTS_FILE
            if not results.exists():
                data_directory.write_private(results, former.read_text(encoding="utf-8"))
                os.chown(results, user.pw_uid, user.pw_gid, follow_symlinks=False)
                former.unlink()
    except OSError as error:
        message = f"--worker-user {user.pw_name}: {state} cannot be used: {error.strerror}"
        raise ConfigError(message) from error
    return state


def _environ_of(user: pwd.struct_passwd, environ: Mapping[str, str]) -> dict[str, str]:
    """Our environment, but with that user's directories and names."""
    kept = {name: value for name, value in environ.items() if not name.startswith("XDG_")}
    kept |= {"HOME": user.pw_dir, "SHELL": user.pw_shell or "/bin/sh"}
    return kept | {"USER": user.pw_name, "LOGNAME": user.pw_name}


def _try_out(
    user: pwd.struct_passwd, environ: Mapping[str, str], code: str, *arguments: str
) -> None:
    """Run this code as that user; raises `ConfigError` if it fails."""
    try:
        subprocess.run(
            [sys.executable, "-c", code, *arguments],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except OSError as error:
        reason = f"{sys.executable}: {error.strerror}"
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["it ended"])[-1]
    else:
        return
    message = f"--worker-user {user.pw_name}: this user cannot run the worker: {reason}"
    raise ConfigError(message)


async def _drain(process: trio.Process) -> None:
    for patience_s in (limits.GRACE_S, limits.ACK_S):  # First it drains, then it stops its jobs.
        process.terminate()
        with trio.move_on_after(patience_s):
            await process.wait()
            return
    process.kill()
