"""Owns the one way our tasks wake each other: a bell that stays rung until a task waits for it."""

import trio


class Doorbell:
    """Many may ring, one task waits; ringing twice before it comes is ringing once."""

    def __init__(self) -> None:
        self._rung = False
        self._lot = trio.lowlevel.ParkingLot()

    def ring(self) -> None:
        """Wake the waiting task, now or when it comes next."""
        if not self._rung:
            self._rung = True
            self._lot.unpark_all()

    async def wait(self) -> None:
        """Sleep until rung; clears the bell."""
        if not self._rung:
            await self._lot.park()
        self._rung = False
