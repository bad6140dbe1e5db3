"""Decides which params of `Container` are refused before anything is started."""

import msgspec
import pytest

from workers.kinds.container import ContainerParams

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "image",
    [
        *("alpine", "alpine:3.22", "library/alpine", "docker.io/library/alpine:3.22"),
        *("localhost/app:test", "registry.example.com:5000/a/b_c/d--e:v1.0-x", "127.0.0.1:1/a"),
        *(f"alpine@{DIGEST}", f"ghcr.io/a/b:1@{DIGEST}"),
    ],
)
def test_names_of_images(image: str) -> None:
    assert msgspec.convert({"image": image}, ContainerParams).image == image


@pytest.mark.parametrize(
    "image",
    [
        *("", "-v", "--privileged", "a b", "Alpine", "alpine:", "alpine@latest", "a//b", "a:b:c"),
        # What podman would read from the host.
        *("dir:/etc", "dir:5", "oci:5/x", "oci-archive:/x.tar", "docker-archive:/x", "docker://a"),
        *("docker-daemon:a", "containers-storage:a", "sif:a", "ostree:a"),
    ],
)
def test_what_is_no_image(image: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="image"):
        msgspec.convert({"image": image}, ContainerParams)


@pytest.mark.parametrize(
    "params",
    [
        {"command": ""},
        {"command": []},
        {"command": ["", "x"]},
        {"workdir": "relative"},
        {"mounts": ["relative:/x"]},
        {"mounts": ["/x"]},
        {"mounts": ["/x:relative"]},
        {"mounts": ["/x:/y:z"]},
        {"mounts": ["/x:/y:ro:rw"]},
        {"network": "host"},
        {"network": "container:other"},
        {"network": "ns:/proc/1/ns/net"},
        {"network": "--privileged"},
        {"pull": "newer"},
        {"engine": "/bin/sh"},
        {"privileged": True},
    ],
)
def test_what_no_job_may_ask_for(params: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"image": "alpine", **params}, ContainerParams)
