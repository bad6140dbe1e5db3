"""Owns one real Kubernetes control plane on loopback, whose nodes and pods kwok simulates."""

import json
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import httpx
import yaml

from bench.servers.broker import free_ports
from bench.servers.cluster.build import SOURCES, NoCluster

NODE: Final = "simulated"
START_S: Final = 120.0
STOP_S: Final = 20.0
_PAUSE_S: Final = 0.1
_LINES_SHOWN: Final = 15
_CONTROLLERS: Final = (
    "job-controller",
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
)
# Who may connect: all, nothing, and nobody (its token is not in tokens.csv).
_TOKENS: Final = {"admin": "admin-token", "limited": "limited-token", "stranger": "no-token"}


class SimulatedCluster:
    """An API server, a controller manager, a scheduler, and one node of kwok's.

    `kubeconfig` has the contexts `admin` (the current one), `limited`, who may do nothing, and
    `stranger`, whom the API server does not know. `client` is the administrator's.
    """

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self.kubeconfig = directory / "kubeconfig.yaml"
        self.logs = directory / "logs"
        self._etcd_port, self._peer_port, self.port, self._kwok_port = free_ports(4)
        self.server = f"https://127.0.0.1:{self.port}"
        self.client = httpx.Client()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return when the API server answers and the node is ready."""
        for name in ("etcd", "certs", "logs"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        for name in ("main", "setup", "loud"):
            self.write_log(name, f"this is the log of {name}")
        key = self._directory / "sa.key"
        command = ["openssl", "genrsa", "-out", str(key), "2048"]
        subprocess.run(command, check=True, capture_output=True)
        known = [each for each in _TOKENS if each != "stranger"]
        groups = {"admin": ',"system:masters"'}
        lines = [f"{_TOKENS[each]},{each},{each}{groups.get(each, '')}\n" for each in known]
        (self._directory / "tokens.csv").write_text("".join(lines), encoding="ascii")
        self._start_etcd()
        self._start_api_server(key)
        self._write_kubeconfig()
        self._await_certificate()
        self.client = httpx.Client(**self._as_admin())
        self._await("the API server", "/readyz", lambda answer: answer.text == "ok")
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            f"--controllers={','.join(_CONTROLLERS)}",
            "--secure-port=0",
        )
        self._start(
            "kube-scheduler",
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            "--secure-port=0",
        )
        self._start_kwok()

    def stop(self) -> None:
        """End all of it; what they were doing is of no use to anybody."""
        self.client.close()
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            process.wait(STOP_S)
        self._processes.clear()

    def pause_api_server(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        self._processes[1].send_signal(signal.SIGSTOP)

    def resume_api_server(self) -> None:
        """Let it go on after a pause."""
        self._processes[1].send_signal(signal.SIGCONT)

    def forget_versions(self) -> None:
        """Have etcd forget the past, so that no watch can go on from there."""
        etcd = f"http://127.0.0.1:{self._etcd_port}/v3/kv"
        latest = httpx.post(f"{etcd}/range", json={"key": "AA=="}).raise_for_status().json()
        revision = {"revision": latest["header"]["revision"], "physical": True}
        httpx.post(f"{etcd}/compaction", json=revision).raise_for_status()

    def write_log(self, container: str, *lines: str) -> None:
        """What containers of this name have written, each line a microsecond after the other."""
        stamped = [
            f"2026-01-02T03:04:05.{at:09d}Z stdout F {line}\n" for at, line in enumerate(lines)
        ]
        (self.logs / f"{container}.log").write_text("".join(stamped), encoding="utf-8")

    def call(self, method: str, path: str, body: object = None, kind: str = "json") -> Any:  # noqa: ANN401 - Any JSON.
        """A request of the administrator's. `kind`: of a patch, such as `merge-patch+json`."""
        headers = {"content-type": f"application/{kind}"}
        content = None if body is None else json.dumps(body)
        answer = self.client.request(method, path, content=content, headers=headers)
        return answer.raise_for_status().json()

    def async_client(self) -> httpx.AsyncClient:
        """One of the administrator's, for what is not to block."""
        return httpx.AsyncClient(**self._as_admin())

    def _as_admin(self) -> dict[str, Any]:
        return {
            "base_url": self.server,
            "verify": ssl.create_default_context(cafile=self._certificate()),
            "headers": {"authorization": f"Bearer {_TOKENS['admin']}"},
            "timeout": 30.0,
            "trust_env": False,
        }

    def _start_etcd(self) -> None:
        self._start(
            "etcd",
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{self._etcd_port}",
            f"--advertise-client-urls=http://127.0.0.1:{self._etcd_port}",
            f"--listen-peer-urls=http://127.0.0.1:{self._peer_port}",
            "--unsafe-no-fsync",
        )

    def _start_api_server(self, key: Path) -> None:
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self._directory / 'certs'}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://localhost",
            # A watch of Jobs that is older than etcd remembers is then refused at once (410 Gone).
            "--watch-cache-sizes=jobs.batch#0",
            f"--token-auth-file={self._directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            # The second would taint the node until a controller that does not run sees it ready.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            "--kubelet-preferred-address-types=InternalIP",
            # Debian's etcd is too old for it; kwok asks for it, and lists once that is refused.
            "--feature-gates=WatchList=false",
        )

    def _start_kwok(self) -> None:
        config = (SOURCES / "kwok.yaml").read_text("utf-8").replace("LOGS", str(self.logs))
        (self._directory / "kwok.yaml").write_text(config, encoding="utf-8")
        certificate = self._certificate()
        self._start(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            f"--config={self._directory / 'kwok.yaml'}",
            "--manage-all-nodes=true",
            "--node-ip=127.0.0.1",
            f"--node-port={self._kwok_port}",
            f"--server-address=127.0.0.1:{self._kwok_port}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={certificate.with_suffix('.key')}",
        )
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        self.call("POST", "/api/v1/nodes", node)
        self._await(
            "the node",
            f"/api/v1/nodes/{NODE}",
            lambda answer: any(
                each["type"] == "Ready" and each["status"] == "True"
                for each in answer.json().get("status", {}).get("conditions", [])
            ),
        )

    def _certificate(self) -> Path:
        return self._directory / "certs" / "apiserver.crt"

    def _write_kubeconfig(self) -> None:
        cluster = {"server": self.server, "certificate-authority": str(self._certificate())}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "admin",
            "clusters": [{"name": "simulated", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": its}} for name, its in _TOKENS.items()],
            "contexts": [
                {"name": name, "context": {"cluster": "simulated", "user": name}}
                for name in _TOKENS
            ],
        }
        self.kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.kubeconfig.chmod(0o600)

    def _start(self, program: str, *arguments: str) -> None:
        with (self._directory / f"{program}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self._programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Control-C at a terminal must not end it before the tests.
                process_group=0,
            )
        self._processes.append(process)

    def _await_certificate(self) -> None:
        """The API server makes it for itself."""
        deadline = time.monotonic() + START_S
        while not (self._certificate().exists() and self._certificate().stat().st_size):
            self._check_processes()
            if time.monotonic() > deadline:
                raise NoCluster(f"the API server made no certificate within {START_S:.0f} s")
            time.sleep(_PAUSE_S)

    def _check_processes(self) -> None:
        for process in self._processes:
            if process.poll() is not None:
                raise NoCluster(self._last_words(process))

    def _await(self, what: str, path: str, ready: Callable[[httpx.Response], bool]) -> None:
        """Ask until it is ready; a process that has ended meanwhile says why."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            self._check_processes()
            try:
                answer = self.client.get(path)
                if answer.is_success and ready(answer):
                    return
            except httpx.TransportError:
                pass
            time.sleep(_PAUSE_S)
        raise NoCluster(f"{what} was not ready after {START_S:.0f} s")

    def _last_words(self, process: "subprocess.Popen[bytes]") -> str:
        program = Path(str(process.args[0])).name  # type: ignore[index]
        text = (self._directory / f"{program}.log").read_text("utf-8", "replace")
        lines = "\n".join(text.splitlines()[-_LINES_SHOWN:])
        return f"{program} ended with exit code {process.returncode}:\n{lines}"
