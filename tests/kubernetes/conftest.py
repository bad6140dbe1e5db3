"""Owns the namespace of each test, and the kinds that run jobs there."""

import uuid
from collections.abc import Iterator

import pytest

from bench.servers.cluster.simulated import SimulatedCluster
from tests.kubernetes.cluster_runs import ClusterRuns
from workers.kinds.kubernetes.deployment import KubernetesDeployment, KubernetesDeploymentParams
from workers.kinds.kubernetes.job import KubernetesJob, KubernetesJobParams


@pytest.fixture
def namespace(cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A namespace of the test's own; jobs find the cluster through the environment."""
    name = f"t{uuid.uuid4().hex[:12]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    cluster.call("POST", "/api/v1/namespaces", body)
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    yield name
    cluster.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def jobs(cluster: SimulatedCluster, namespace: str) -> ClusterRuns[KubernetesJobParams]:
    """Runs jobs of the kind `K8S/Job`."""
    return ClusterRuns(KubernetesJob(), cluster, namespace)


@pytest.fixture
def deployments(
    cluster: SimulatedCluster, namespace: str
) -> ClusterRuns[KubernetesDeploymentParams]:
    """Runs jobs of the kind `K8S/Deployment`."""
    return ClusterRuns(KubernetesDeployment(), cluster, namespace)
