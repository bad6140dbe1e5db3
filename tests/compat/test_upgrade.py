"""Decides that what the version before has left goes on under this one, and both work together."""

import pytest

from tests.compat.upgrade import ENDED, NEW, OLD, Upgrade

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_what_was_there_is_as_it_was(upgrade: Upgrade) -> None:
    assert upgrade.was
    for path, was in upgrade.was.items():
        assert upgrade.became[path] == was, path


def test_it_was_what_it_should_be(upgrade: Upgrade) -> None:
    """Or nothing would have been compared above."""
    states = {name: upgrade.was[f"/v1/runs/{upgrade.runs[name]}"]["state"] for name in ENDED}
    assert states == dict.fromkeys(ENDED, "DONE") | {"fail": "ERROR", "cancelled": "CANCELLED"}
    assert len(upgrade.was["/v1/stats/export?format=csv"].splitlines()) == 1 + 9
    assert len(upgrade.was["/v1/schedules"]["items"]) == 2
    assert len(upgrade.was["/v1/scheduled-runs"]["items"]) > 0


def test_all_that_was_open_ends_and_counts_once(upgrade: Upgrade) -> None:
    site, runs = upgrade.site, upgrade.runs
    for name in runs.keys() - ENDED:
        assert site.get(f"/v1/runs/{runs[name]}")["state"] == "DONE", name
    workers = {name: site.jobs(run)[0]["worker"] for name, run in runs.items()}
    for name in ("held", "child", "held-next"):
        assert workers[name] == OLD
    assert (workers["held-new"], workers["held-mortal"], workers["wait"]) == (NEW, "heir", "heir")
    began = sorted(int(line) for line in upgrade.ran.read_text().split())
    held = {
        name: site.jobs(runs[name])[0]["id"]
        for name in ("held", "held-new", "held-mortal", "child", "held-next")
    }
    assert began == sorted([*held.values(), held["held-mortal"]])  # Its worker was killed.
    assert site.jobs(runs["held-mortal"])[0]["attempt"] == 2
    assert site.jobs(runs["parent"])[0]["child_run_id"] == runs["child"]
    assert site.log(runs["held"], 1) == "then\n"


@pytest.mark.parametrize(("pipeline", "worker"), [("speak", OLD), ("speak-new", NEW)])
def test_workers_of_both_versions_execute_for_both_planes(
    upgrade: Upgrade, pipeline: str, worker: str
) -> None:
    site = upgrade.site
    fresh = site.start(pipeline)
    for run in (upgrade.runs[pipeline], fresh):
        assert [site.log(run, job) for job in (0, 1)] == ["got 7\n", "then 7\n"]
        one, two = site.jobs(run)
        assert (one["state"], one["output"], one["worker"]) == ("DONE", {"n": 7}, worker)
        assert (two["state"], two["output"], two["worker"]) == ("DONE", None, worker)


def test_clients_hooks_schedules_and_triggers_go_on(upgrade: Upgrade) -> None:
    site = upgrade.site
    before = site.runs_of("triggered")
    schedule = site.get("/v1/schedules")["items"][0]["id"]
    started = [
        site.start("anns", upgrade.auth),
        site.call("POST", upgrade.hook, {"n": 1}).json()["id"],
        site.call("POST", f"/v1/schedules/{schedule}/trigger").json()["id"],
    ]
    for run in started:
        site.wait_until_it_ends(run)
    found = [site.get(f"/v1/runs/{run}") for run in started]
    assert [each["client"] for each in found] == ["ann", "admin", "admin"]
    assert [each["trigger"] for each in found] == ["api", "hook", "api"]
    while len(site.runs_of("triggered")) < len(before) + 1:
        pass


@pytest.mark.parametrize("words", ["run show {speak}", "client list"])
def test_commands_of_the_version_before_show_the_same(upgrade: Upgrade, words: str) -> None:
    command = words.format(**upgrade.runs).split()
    shown = [
        version.tpctl(upgrade.site.directory, *command, "-o", "json")
        for version in (upgrade.before, upgrade.now)
    ]
    assert shown[0]
    assert shown[0] == shown[1]
