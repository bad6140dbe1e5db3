"""Decides what a job's process cannot reach, and what it still can."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

import pytest
import trio

from control.model.errors import ConfigError
from control.model.worker.isolation import IsolationMode
from workers.isolation import landlock
from workers.isolation.hidden import HiddenPaths, directories_above
from workers.isolation.launcher import IsolatingLauncher, can_cover, choose_launcher

INTRUDER = Path(__file__).with_name("intruder.py")
ABI = landlock.abi()
needs_landlock = pytest.mark.skipif(
    ABI < landlock.ABI_SCOPES, reason="this kernel lacks Landlock, or its scopes"
)


class Site:
    """A host with a control plane's files, a worker's, and a directory for one job."""

    def __init__(self, root: Path, *, covers: bool) -> None:
        self.data = root / "share" / "plane"
        self.worker = root / "state" / "worker"
        self.own = self.worker / "jobs" / "1-1-1"
        self.other = self.worker / "jobs" / "2-1-2"
        self.beside = root / "share" / "beside"
        for directory in (self.data / "logs", self.own / "work", self.other, self.beside):
            directory.mkdir(parents=True)
        self.secret = self.data / "credentials.toml"
        self.results = self.worker / "results.jsonl"
        for file in (self.secret, self.results, self.other / "output.json"):
            file.write_text("s3cret")
        self.hidden = HiddenPaths([self.data, self.worker, root / "not there"])
        self.launcher = IsolatingLauncher(self.hidden, abi=ABI, covers=covers)

    def close(self) -> None:
        self.launcher.close()
        self.hidden.close()

    async def run(self, *command: str, cwd: Path | None = None) -> tuple[int, str]:
        """Run a command as a job; gives its exit code and what it printed."""
        reads, writes = os.pipe()
        try:
            process = await self.launcher.start(
                command,
                directory=self.own,
                cwd=cwd or self.own / "work",
                env={"PATH": os.environ["PATH"], "HOME": str(self.own)},
                output=writes,
            )
        finally:
            os.close(writes)
        with trio.fail_after(60):
            printed = await trio.to_thread.run_sync(_read_all, reads)
            code = await process.wait()
            await process.settle()
            return code, printed


def _read_all(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as file:
        return file.read()


class Sites(Protocol):
    """Makes a site, which ends with the test."""

    def __call__(self, *, covers: bool) -> Site: ...


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    with ExitStack() as stack:

        def make(*, covers: bool) -> Site:
            if covers and not can_cover():
                pytest.skip("only root may mount, and not everywhere")
            return stack.enter_context(closing(Site(tmp_path, covers=covers)))

        yield make


@pytest.fixture(params=["allow list", "covered"])
def site(sites: Sites, request: pytest.FixtureRequest) -> Site:
    return sites(covers=request.param == "covered")


@needs_landlock
async def test_an_intruder_gets_nothing(site: Site) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"\0taskplane-test-{os.getpid()}")
        door.listen()
        targets = {
            "files": [str(site.secret), str(site.results), str(site.other / "output.json")],
            "directories": [str(site.data), str(site.data / "logs"), str(site.other)],
            "processes": [os.getpid(), 1],
            "sockets": [f"taskplane-test-{os.getpid()}"],
        }
        (site.own / "targets.json").write_text(json.dumps(targets))
        code, printed = await site.run(sys.executable, str(INTRUDER), "../targets.json")
    assert code == 0, printed
    results = json.loads(printed)
    assert len(results) > 50
    assert {what: got for what, got in results.items() if not got.startswith("refused")} == {}
    assert site.secret.read_text() == "s3cret"


@needs_landlock
async def test_two_jobs_cannot_touch_each_other(site: Site) -> None:
    reads, writes = os.pipe()
    victim = await site.launcher.start(
        ["sleep", "300"],
        directory=site.other,
        cwd=site.other,
        env={"MINE": "s3cret"},
        output=writes,
    )
    os.close(writes)
    try:
        command = f"cat /proc/{victim.pid}/environ; ls /proc/{victim.pid}/cwd/; kill {victim.pid}"
        code, printed = await site.run("sh", "-c", command)
        assert code != 0
        assert "s3cret" not in printed
        assert victim.poll() is None
    finally:
        os.killpg(victim.pid, 9)
        assert await victim.wait() == -9
        await victim.settle()
        os.close(reads)


@needs_landlock
@pytest.mark.parametrize(
    "command",
    [
        "echo x > file && cat file && rm file",
        "printf 'all:\\n\\techo made > made\\n' > Makefile && make -s && grep made made",
        "git init -q . && echo a > a && git add a && mkdir sub && git mv a sub/b",
        f"{sys.executable} -m venv --without-pip env && env/bin/python -c 'import json'",
        "cat /dev/null > /dev/null && head -c 9 /dev/urandom > random",
        "f=/dev/shm/tp-test-$$ && echo x > $f && rm $f",
        "f=$(mktemp) && echo x > $f && rm $f",
        "sleep 300 & kill $! && wait $! || true",
        "ps -p $$ > /dev/null || test -d /proc/$$",
        f"{sys.executable} -c 'from multiprocessing import Pool as P; P(2).map(abs, [-1])'",
        "f=$BESIDE/made && echo x > $f && ls $BESIDE && mv $f moved && rm moved",
    ],
)
async def test_what_jobs_usually_do_still_works(site: Site, command: str) -> None:
    (site.own / "temporary").mkdir()
    setting = f"BESIDE={site.beside}; "
    code, printed = await site.run("sh", "-ec", setting + command)
    assert code == 0, printed


@needs_landlock
async def test_the_network_is_there(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = f"import socket; socket.create_connection({server.getsockname()!r})"
        assert (await site.run(sys.executable, "-c", call))[0] == 0


@needs_landlock
async def test_where_mounts_are_at_hand_hiding_costs_the_directories_above_nothing(
    tmp_path: Path, sites: Sites
) -> None:
    site = sites(covers=True)
    command = f"ls / > /dev/null && ls {tmp_path}/share && touch {tmp_path}/share/made"
    code, printed = await site.run("sh", "-ec", command)
    assert (code, printed) == (0, "beside\nplane\n")
    assert (tmp_path / "share" / "made").exists()


@needs_landlock
async def test_a_relative_directory_is_not_what_is_covered(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = sites(covers=True)
    monkeypatch.chdir(site.data)
    code, printed = await site.run("cat", "credentials.toml", cwd=Path())
    assert code != 0
    assert "s3cret" not in printed


@needs_landlock
async def test_temporary_files_have_a_place_where_their_usual_one_is_closed(sites: Sites) -> None:
    site = sites(covers=False)
    assert isinstance(site.launcher, IsolatingLauncher)
    reads, writes = os.pipe()
    process = await site.launcher.start(
        ["sh", "-ec", "echo x > $(mktemp); echo $TMPDIR"],
        directory=site.own,
        cwd=site.own,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(site.data.parent)},
        output=writes,
    )
    os.close(writes)
    assert await process.wait() == 0
    await process.settle()
    assert _read_all(reads) == f"{site.own}/tmp\n"
    assert str(site.data.parent) in site.launcher.closed_directories()


def test_what_was_renamed_stays_hidden(tmp_path: Path) -> None:
    (tmp_path / "a" / "data").mkdir(parents=True)
    hidden = HiddenPaths([tmp_path / "a" / "data"])
    before = hidden.current()
    (tmp_path / "a").rename(tmp_path / "b")
    assert (before, hidden.current()) == (
        [f"{tmp_path}/a/data"],
        [f"{tmp_path}/b/data"] if sys.platform == "linux" else [],
    )
    hidden.close()


def test_what_is_inside_another_hidden_one_closes_nothing_more(tmp_path: Path) -> None:
    inner = tmp_path / "data" / "workers" / "w"
    inner.mkdir(parents=True)
    hidden = HiddenPaths([inner, tmp_path / "data"])
    assert hidden.current() == [f"{tmp_path}/data"]
    assert directories_above(hidden.current()) == {str(each) for each in (tmp_path / "x").parents}
    hidden.close()


@needs_landlock
def test_what_a_job_gives_up_others_have(sites: Sites) -> None:
    site = sites(covers=False)
    trio.run(site.run, "true")
    assert site.secret.read_text() == "s3cret"
    assert subprocess.run(["cat", site.secret], check=True, capture_output=True).stdout


@needs_landlock
@pytest.mark.parametrize("mode", [IsolationMode.AUTO, IsolationMode.REQUIRED])
def test_what_is_isolated_is_said(mode: IsolationMode) -> None:
    launcher, said = choose_launcher(mode, HiddenPaths([]))
    assert isinstance(launcher, IsolatingLauncher)
    assert len(said.isolated) == 4
    assert "network" in said.open[0]
    assert bool(said.warnings) == (os.geteuid() == 0)
    launcher.close()


def test_without_isolation_that_is_said_too() -> None:
    launcher, said = choose_launcher(IsolationMode.NONE, HiddenPaths([]))
    assert not isinstance(launcher, IsolatingLauncher)
    assert said.isolated == ()
    assert "switched off" in said.warnings[0]
    launcher.close()


@pytest.mark.skipif(ABI >= landlock.ABI_SCOPES, reason="this kernel has all that is needed")
def test_what_is_required_and_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="isolation is required"):
        choose_launcher(IsolationMode.REQUIRED, HiddenPaths([]))
