"""Numbers of deliveries in words."""


def deliveries_in_words(count: int) -> str:
    """Return `1 delivery`, `2,000 deliveries`."""
    return f"{count:,} {'delivery' if count == 1 else 'deliveries'}"
