"""What `examples/warehouse.yaml` checks before it loads anything."""


def require_orders(day: str, rows: list[list[str]], expected: int) -> dict[str, object]:
    """Sum up the orders of a day; raises ValueError when something cannot be right."""
    if not rows:
        message = f"there are no orders of {day}"
        raise ValueError(message)
    if len(rows) != expected:
        message = f"{expected} customers went in, {len(rows)} came out"
        raise ValueError(message)
    cents = sum(round(float(total) * 100) for _, total in rows)
    if cents <= 0:
        message = f"the orders of {day} are worth nothing"
        raise ValueError(message)
    return {"day": day, "customers": len(rows), "cents": cents}
