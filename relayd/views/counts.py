"""Numbers of deliveries in words."""


def deliveries_in_words(count: int) -> str:
    """Return `1 delivery`, `2,000 deliveries`."""
    return f"{count:,} {'delivery' if count == 1 else 'deliveries'}"


def pending_in_words(count: int, *, one: str = "", more: str = "") -> str:
    """Return `It has 2 deliveries pending`, with what follows for one, or for more; nothing follows for none."""
    if not count:
        return "It has no delivery pending."
    return f"It has {deliveries_in_words(count)} pending{(one if count == 1 else more) or '.'}"
