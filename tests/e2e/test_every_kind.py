"""Decides that the example with every kind does what it says, for three days, and through kills."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psycopg
import pytest
import trio
import yaml

from bench.servers.cluster.simulated import SimulatedCluster
from bench.servers.containers import Podman
from bench.servers.databases import PostgreSQLServer
from bench.servers.system import System, start_control, start_worker
from control.model.names import ENV_WORKER_CONFIG
from tests.kubernetes.conftest import namespace
from tests.workers.notification.conftest import authority, web
from tests.workers.notification.receivers import Web
from tests.workers.query.conftest import postgresql

__all__ = ["authority", "namespace", "postgresql", "web"]  # Fixtures.

pytestmark = [pytest.mark.kubernetes, pytest.mark.e2e, pytest.mark.slow]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DAYS = ("2026-11-01", "2026-11-02", "2026-11-03")
Definition = dict[str, Any]
# Of each day's run, at 3 o'clock of the day after: customers and cents.
LOADED = [("2026-11-02", 2, 1_000), ("2026-11-03", 1, 250), ("2026-11-04", 3, 600)]


@pytest.fixture
def sales(postgresql: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """A database with orders of three days."""
    rows = [
        ("ann", "7.50", DAYS[0]),
        ("bob", "2.50", DAYS[0]),
        ("ann", "2.50", DAYS[1]),
        *((name, "2.00", DAYS[2]) for name in ("ann", "bob", "O'Brien $(rm -rf /)")),
    ]
    with psycopg.connect(_url(postgresql), password=postgresql.password) as connection:
        connection.execute("DROP TABLE IF EXISTS orders")
        connection.execute("CREATE TABLE orders (customer text, total numeric(12, 2), day date)")
        for row in rows:
            connection.execute("INSERT INTO orders VALUES (%s, %s, %s)", row)
    yield postgresql
    with psycopg.connect(_url(postgresql), password=postgresql.password) as connection:
        connection.execute("DROP TABLE orders")


def _url(server: PostgreSQLServer) -> str:
    return server.url.replace("+psycopg", "")


class Place:
    """Everything that the example talks to, and a control plane."""

    def __init__(
        self,
        path: Path,
        stack: ExitStack,
        *,
        sales: PostgreSQLServer,
        podman: Podman,
        cluster: SimulatedCluster,
        namespace: str,
        web: Web,
    ) -> None:
        self.path = path
        self.data = path / "data"
        self.cluster = cluster
        self.namespace = namespace
        self.web = web
        self._stack = stack
        self._workers = 0
        self.warehouse = path / "warehouse.duckdb"
        with duckdb.connect(self.warehouse) as connection:
            connection.execute(
                "CREATE TABLE days (day DATE PRIMARY KEY, customers BIGINT, cents BIGINT)"
            )
        config = path / "worker.toml"
        arguments = ", ".join(f'"{each}"' for each in podman.arguments)
        config.write_text(
            f'[connections.sales]\nurl = "{_url(sales)}"\npassword_env = "SALES_PASSWORD"\n'
            f'[connections.warehouse]\nurl = "duckdb:///{self.warehouse}"\n'
            f'[targets.analysts]\nurl = "{web.url}"\n'
            f'[container]\nengine = "podman"\narguments = [{arguments}]\n',
            "utf-8",
        )
        self._environ = {
            ENV_WORKER_CONFIG: str(config),
            "SALES_PASSWORD": sales.password,
            "KUBECONFIG": str(cluster.kubeconfig),
            "HTTPS_PROXY": "",  # The web server is one for tests of other services.
        }
        stack.enter_context(start_control(self.data))
        self.system = System(self.data, [])
        self.client = stack.enter_context(
            httpx.Client(base_url=self.system.url, auth=self.system.auth, timeout=60)
        )

    def worker(self, slots: int) -> subprocess.Popen[str]:
        """One more worker."""
        self._workers += 1
        return self._stack.enter_context(
            start_worker(self.data, slots=slots, name=f"w{self._workers}", environ=self._environ)
        )

    def definition(self) -> Definition:
        """The example, in this test's namespace."""
        found: Definition = yaml.safe_load((EXAMPLES / "warehouse.yaml").read_text("utf-8"))
        for job in found["jobs"]:
            if job["kind"].startswith("K8S/"):
                job["params"]["namespace"] = self.namespace
            if job["kind"] == "Python":
                job["params"]["path"] = str(EXAMPLES)
        return found

    def apply(self, definition: Definition) -> None:
        self.client.put("/v1/pipelines/warehouse", json=definition).raise_for_status()

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON of any call.
        return self.client.get(path).raise_for_status().json()

    def wait(self, path: str, done: Callable[[Any], object]) -> Any:  # noqa: ANN401 - As above.
        for _ in range(2_400):
            found = self.get(path)
            if done(found):
                return found
            trio.run(trio.sleep, 0.05)
        pytest.fail(f"{path}: {found}")

    def pods(self) -> list[Any]:
        """Those of the Job."""
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=taskplane/job"
        found: list[Any] = self.cluster.call("GET", path)["items"]
        return found

    def wait_for_pod(self) -> None:
        """Until the Job's pod runs."""
        for _ in range(2_400):
            if any(pod["status"].get("phase") == "Running" for pod in self.pods()):
                return
            trio.run(trio.sleep, 0.05)
        pytest.fail(f"no pod runs: {self.pods()}")

    def release_pods(self) -> None:
        """Let the Job's pod end."""
        for pod in self.pods():
            path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
            body = {"metadata": {"labels": {"hold": None}}}
            self.cluster.call("PATCH", path, body, "merge-patch+json")

    def loaded(self) -> list[tuple[str, int, int]]:
        """What is in the warehouse."""
        with duckdb.connect(self.warehouse, read_only=True) as connection:
            rows = connection.execute("FROM days ORDER BY day").fetchall()
        return [(str(day), customers, cents) for day, customers, cents in rows]


@pytest.fixture
def place(
    *,
    tmp_path: Path,
    sales: PostgreSQLServer,
    podman: Podman,
    cluster: SimulatedCluster,
    namespace: str,
    web: Web,
) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(
            tmp_path,
            stack,
            sales=sales,
            podman=podman,
            cluster=cluster,
            namespace=namespace,
            web=web,
        )


def of_warehouse(found: Any) -> list[Any]:  # noqa: ANN401 - JSON of a page.
    return [run for run in found["items"] if run["pipeline"] == "warehouse"]


def test_three_days_are_filled_in_with_three_results(place: Place) -> None:
    place.apply(place.definition())
    place.worker(slots=4)
    (schedule,) = place.get("/v1/schedules")["items"]
    body = {"from": f"{DAYS[1]}T00:00:00Z", "until": "2026-11-05T00:00:00Z"}
    answer = place.client.post(f"/v1/schedules/{schedule['id']}/backfill", json=body)
    assert answer.is_success, answer.text
    found = place.wait(
        "/v1/runs?limit=100",
        lambda page: (
            len(of_warehouse(page)) == 3
            and len(page["items"]) == 6
            and all(run["finished_at"] for run in page["items"])
        ),
    )
    assert {run["reason"] for run in found["items"]} == {"done"}
    assert place.loaded() == LOADED
    titles = sorted(request.json["title"] for request in place.web.requests)
    assert titles == [f"Orders of {day}T03:00:00.000Z" for day, _, _ in LOADED]
    bodies = {request.json["message"].partition(" (")[0] for request in place.web.requests}
    assert bodies == {f"{customers} customers, {cents} cents" for _, customers, cents in LOADED}
    image = place.cluster.call(
        "GET", f"/apis/apps/v1/namespaces/{place.namespace}/deployments/reports"
    )["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"registry.example.com/reports:7.{LOADED[-1][2]}"  # One after the other.


def held(place: Place) -> Definition:
    """The example, where the first attempt at each job takes longer than its worker lives."""
    definition = place.definition()
    jobs = {job["name"]: job["params"] for job in definition["jobs"]}
    attempt = "${{ this.attempt }}"
    jobs["orders"]["sql"] = jobs["orders"]["sql"].replace(
        "WHERE day",
        "WHERE pg_sleep(CASE WHEN :attempt = 1 THEN 600 ELSE 0 END) IS NOT NULL AND day",
    )
    jobs["orders"]["parameters"]["attempt"] = attempt
    jobs["names"]["command"] = f"[ {attempt} -gt 1 ] || sleep 600\n" + jobs["names"]["command"]
    slow = place.path / "slow_checks.py"
    slow.write_text(
        "import time\nimport warehouse_checks\n"
        "def require_orders(attempt, **given):\n"
        "    time.sleep(600 if attempt == 1 else 0)\n"
        "    return warehouse_checks.require_orders(**given)\n",
        "utf-8",
    )
    jobs["check"]["call"] = "slow_checks:require_orders"
    jobs["check"]["path"] = [str(place.path), str(EXAMPLES)]
    jobs["check"]["kwargs"]["attempt"] = attempt
    many = "range(CASE WHEN :attempt = 1 THEN 1000000 ELSE 1 END)"
    jobs["load"]["sql"] = (
        "INSERT OR REPLACE INTO days SELECT CAST(CAST(:day AS TIMESTAMPTZ) AS DATE), :customers, "
        f":cents + 0 * (SELECT count(*) FROM {many} AS a, {many} AS b "
        "WHERE hash(a.range, b.range) = 7)"
    )
    jobs["load"]["parameters"]["attempt"] = attempt
    template = jobs["schema"]["manifest"]["spec"]["template"]
    template["metadata"] = {"labels": {"hold": "yes"}}
    jobs["reports"]["manifest"]["spec"]["minReadySeconds"] = 5
    jobs["schema"]["delete"] = "never"
    return definition


def test_kill_9_in_each_stage_does_nothing_twice_that_can_be_adopted(place: Place) -> None:
    place.apply(held(place))
    (schedule,) = place.get("/v1/schedules")["items"]
    body = {"from": f"{DAYS[1]}T00:00:00Z", "until": f"{DAYS[2]}T00:00:00Z"}
    answer = place.client.post(f"/v1/schedules/{schedule['id']}/backfill", json=body)
    assert answer.is_success, answer.text
    worker = place.worker(slots=2)
    (run,) = place.wait("/v1/runs", lambda page: page["items"])["items"]
    path = f"/v1/runs/{run['id']}/jobs"
    for name in ("orders", "names", "check", "load", "schema", "reports"):
        place.wait(path, partial(in_progress, name))
        if name == "schema":
            place.wait_for_pod()
        worker.kill()
        worker.wait()
        worker = place.worker(slots=2)
        if name == "schema":
            place.release_pods()
    place.wait(f"/v1/runs/{run['id']}", lambda found: found["state"] == "DONE")
    attempts = {job["name"]: job["attempt"] for job in place.get(path)["items"]}
    assert attempts == dict.fromkeys(attempts, 2)
    assert place.loaded() == LOADED[:1]
    made = place.cluster.call("GET", f"/apis/batch/v1/namespaces/{place.namespace}/jobs")["items"]
    assert len(made) == 1
    history = place.cluster.call("GET", f"/apis/apps/v1/namespaces/{place.namespace}/replicasets")[
        "items"
    ]
    assert len(history) == 1
    place.wait("/v1/runs", lambda page: all(each["finished_at"] for each in page["items"]))
    assert len(place.web.requests) == 1


def in_progress(name: str, page: Any) -> bool:  # noqa: ANN401 - JSON of a page.
    return any(
        job["name"] == name and job["state"] == "IN_PROGRESS" and job["attempt"] == 1
        for job in page["items"]
    )
