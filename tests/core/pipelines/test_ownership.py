"""Decides whose pipelines may start in whose name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.pipelines import ownership
from control.core.pipelines.requirements import StartedPipeline
from control.model.state_rows import ClientStanding
from control.model.states import Role

CLIENTS = st.builds(
    ClientStanding,
    client_id=st.sampled_from(["ann", "bob", "eve"]),
    role=st.none() | st.sampled_from(Role),
    enabled=st.booleans(),
)
OWNERS = st.sampled_from(["ann", "bob", "eve"])


@given(CLIENTS, CLIENTS, OWNERS)
def test_nothing_is_triggered_that_the_client_might_not_start_itself(
    starter: ClientStanding, author: ClientStanding, owner: str
) -> None:
    if author.client_id == starter.client_id:
        author = starter
    if ownership.start_refusal(starter, author, owner) is None:
        assert ownership.may_start(starter, owner)
        assert starter.client_id == owner or ownership.may_start(author, owner)


@given(CLIENTS, OWNERS)
def test_what_a_client_wrote_itself_it_triggers_as_it_would_start_it(
    client: ClientStanding, owner: str
) -> None:
    allowed = ownership.start_refusal(client, client, owner) is None
    assert allowed == ownership.may_start(client, owner)


@given(CLIENTS, OWNERS)
def test_who_may_start_nothing_starts_nothing_of_anybody(
    client: ClientStanding, owner: str
) -> None:
    if ownership.bar(client) is not None:
        assert not ownership.may_start(client, owner)
    elif client.role == Role.SUBMITTER:
        assert ownership.may_start(client, owner) == (client.client_id == owner)
    else:
        assert ownership.may_start(client, owner)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_an_operator_writes_any_trigger_and_is_told_what_its_owner_may_not(role: Role) -> None:
    targets, owners = [StartedPipeline("triggers[0].pipeline", "bobs")], {"bobs": "bob"}
    assert ownership.foreign_target(targets, owners, role, "olga") is None
    ann = ClientStanding(client_id="ann", role=Role.SUBMITTER)
    (warning,) = ownership.target_warnings(targets, owners, ann)
    assert warning.path == "triggers[0].pipeline"
    assert warning.message == "runs of ann will not start bobs: it belongs to another client"


def test_a_submitter_is_refused_by_path_and_name() -> None:
    targets = [
        StartedPipeline(f"jobs[{at}].params.name", name)
        for at, name in enumerate(("mine", "no", "bobs"))
    ]
    owners = {"mine": "ann", "bobs": "bob"}
    message = ownership.foreign_target(targets, owners, Role.SUBMITTER, "ann")
    assert message == "jobs[2].params.name: the pipeline bobs belongs to another client"
