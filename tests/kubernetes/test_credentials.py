"""Decides what a job says of a kubeconfig that gives no credentials."""

from pathlib import Path

import msgspec
import pytest
import trio

from control.model import limits
from control.model.errors import JobFailed
from control.model.worker.settings import KubernetesTable
from workers.kinds.kubernetes import api


async def test_a_plugin_that_waits_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More often than there are threads to load them in."""
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sleep",
        "args": ["5"],
        "interactiveMode": "Never",
    }
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": plugin}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_bytes(msgspec.json.encode(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr(limits, "KUBERNETES_LOGIN_S", 0.2)
    # Threads of this test give nothing back after its end.
    monkeypatch.setattr(api, "_LOADING", trio.CapacityLimiter(4))
    for _ in range(5):
        with pytest.raises(JobFailed, match="gave no credentials within"):
            await api.connect(KubernetesTable(), None, None)
