"""Owns how a worker finds a cluster and its credentials: a kubeconfig's context, or its own pod.

All of it blocks (it reads files, and may start a kubeconfig's `exec` plugin), so `load` is called
in a thread. What a kubeconfig may contain is the official client's business; that is imported here,
when the first job needs it.
"""

import os
import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import yaml

from control.model.errors import JobFailed

if TYPE_CHECKING:
    from kubernetes.client import Configuration

_KUBECONFIG: Final = "~/.kube/config"
_OWN_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_OWN_HOST: Final = "KUBERNETES_SERVICE_HOST"


class ClusterCredentials(NamedTuple):
    """How to talk to one API server, and as which user. Not for logs."""

    server: str
    namespace: str  # Where the context is at home.
    tls: ssl.SSLContext
    authorization: str | None  # The header's value; None: a client certificate, or anonymous.
    server_name: str | None  # In its certificate, where it is not the host of `server`.
    proxy: str | None


def load(context: str | None, environ: Mapping[str, str]) -> ClusterCredentials:
    """Of a context of the kubeconfig; None: its current one, or else the pod's own.

    Raises JobFailed in words when there are none that can be used.
    """
    try:
        from kubernetes.config import ConfigException  # noqa: PLC0415 - Loads for a second.
    except ImportError as error:
        raise JobFailed(
            f"this worker lacks the client for Kubernetes ({error}); "
            "install it there: pip install '.[kubernetes]' in a clone of Taskplane"
        ) from error
    files = environ.get("KUBECONFIG") or _KUBECONFIG
    try:
        if any(os.path.exists(os.path.expanduser(each)) for each in files.split(os.pathsep)):
            return _of_kubeconfig(files, context)
        return _of_own_pod(files, context, environ)
    except yaml.YAMLError as error:
        # Its own words quote the file, and with it what is secret there.
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise JobFailed(f"the worker's kubeconfig ({files}) is no YAML, at line {line}") from None
    except OSError as error:
        raise JobFailed(
            f"the worker's credentials for Kubernetes cannot be read: {error}"
        ) from error
    except (ConfigException, ValueError, TypeError, AttributeError, LookupError) as error:
        # Words that quote an entry of the kubeconfig would quote its token.
        reason = re.sub(r"[/ ]*[{\[].*", "", str(error), flags=re.DOTALL) or type(error).__name__
        msg = f"the worker's credentials for Kubernetes ({files}) cannot be used: {reason}"
        raise JobFailed(msg) from None


def _of_kubeconfig(files: str, context: str | None) -> ClusterCredentials:
    from kubernetes.client import Configuration  # noqa: PLC0415 - As above.
    from kubernetes.config import list_kube_config_contexts, load_kube_config  # noqa: PLC0415

    contexts, current = list_kube_config_contexts(files)
    chosen = current if context is None else _named(context, contexts)
    configuration = Configuration()
    load_kube_config(files, chosen["name"], configuration)
    return _credentials(configuration, chosen["context"].get("namespace") or "default")


def _named(context: str, contexts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    for each in contexts:
        if each["name"] == context:
            return each
    names = ", ".join(str(each["name"]) for each in contexts)
    raise JobFailed(f"the worker's kubeconfig has no context {context!r}; it has: {names}")


def _of_own_pod(files: str, context: str | None, environ: Mapping[str, str]) -> ClusterCredentials:
    from kubernetes.client import Configuration  # noqa: PLC0415 - As above.
    from kubernetes.config import load_incluster_config  # noqa: PLC0415

    if _OWN_HOST not in environ:
        raise JobFailed(
            f"this worker has no credentials for Kubernetes: there is no kubeconfig ({files}), "
            "and the worker is in no pod"
        )
    if context is not None:
        raise JobFailed(
            f"there is no context {context!r}: this worker has no kubeconfig ({files}); without "
            "`context` a job uses the cluster that the worker is in"
        )
    configuration = Configuration()
    load_incluster_config(configuration)
    return _credentials(configuration, _OWN_NAMESPACE.read_text("utf-8").strip())


def _credentials(configuration: "Configuration", namespace: str) -> ClusterCredentials:
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    host = urlsplit(configuration.host).hostname or ""
    return ClusterCredentials(
        server=configuration.host,
        namespace=namespace,
        tls=tls,
        authorization=configuration.get_api_key_with_prefix("BearerToken"),
        server_name=configuration.tls_server_name,
        proxy=None if proxy_bypass(host) else configuration.proxy,
    )
