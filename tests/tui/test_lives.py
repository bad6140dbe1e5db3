"""Holds the console to the life of the data that it shows: what another one had is gone."""

from control.model.live import Frame
from tests.tui.samples import a_run
from tui.core.store import Answer, Store


def snapshot(life: str | None, *runs: int) -> Frame:
    time = "2026-10-15T12:41:07Z"
    shown = [a_run(id=number) for number in runs]
    return Frame(seq=0, time=time, kind="snapshot", life=life, runs=shown)


def test_other_data_clear_what_was_shown() -> None:
    store = Store()
    store.take(snapshot("a.1", 1, 2), 0)
    store.take(snapshot("a.1", 3), 0)  # The link was lost for a moment.
    assert set(store.runs) == {1, 2, 3}
    store.answers["open.READY"] = Answer(value=[1])
    store.take(snapshot("a.2", 2_000_000_001), 0)  # A backup was restored.
    assert set(store.runs) == {2_000_000_001}
    assert not store.answers
