"""When a delivery's next attempt may start, as its endpoint and subscription stand: in SQL, once.

The rule is that of `core.release` and `core.endpoint`: what was released is due since then, and
nothing starts before its endpoint's hold has ended. Each text is about a delivery `d` that waits,
its subscription `s`, and its endpoint `p`, which may be missing (LEFT JOIN).
"""

RELEASED_AT = """
CASE WHEN d.state = 'retrying' THEN
  CASE WHEN d.release_seen < s.release THEN coalesce(s.released_at, d.scheduled_at)
       WHEN d.recovery_used = 0 AND d.release_seen < p.release THEN p.released_at END END"""
"""When it was released, NULL where it was not; before that where it was released alone: that time is not kept."""

HELD_UNTIL = "coalesce(p.held_until, 0.0)"

EFFECTIVE_DUE = f"max(min(d.due_at, coalesce({RELEASED_AT}, d.due_at)), {HELD_UNTIL})"
"""When its next attempt may start."""
