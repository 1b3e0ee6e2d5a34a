"""Why a subscription or its deliveries are held, in words for people."""

from typing import Final

from relayd.core.hold import Hold

HOLD_REASONS: Final = {
    Hold.INACTIVE: "it has active: false in the configuration",
    Hold.REMOVED: "it is gone from the configuration",
    Hold.PAUSED: "it is paused",
    Hold.GONE: "its receiver answered 410 Gone",
}
"""Why a subscription is held, after `because`."""

HOLD_WORDS: Final = {
    Hold.PAUSED: "its subscription is paused",
    Hold.INACTIVE: "its subscription has active: false",
    Hold.REMOVED: "its subscription is gone from the configuration",
    Hold.GONE: "its receiver answered 410 Gone; it waits for `relayd resume` or another url",
}
"""Why a delivery is held."""

HOLD_STATES: Final = {
    Hold.PAUSED: "paused",
    Hold.INACTIVE: "inactive (active: false)",
    Hold.REMOVED: "gone from the configuration",
    Hold.GONE: "held: its receiver answered 410 Gone",
}
"""What a held subscription is, after its name and `is`."""

HOLD_ADVICE: Final = {
    Hold.PAUSED: "it is paused; `relayd resume {name}` releases its deliveries",
    Hold.GONE: (
        "its receiver answered 410 Gone; `relayd resume {name}` or another url releases its"
        " deliveries"
    ),
    Hold.INACTIVE: "it has active: false; active: true and `relayd reload` release its deliveries",
    Hold.REMOVED: "it is gone from the configuration; put it back and `relayd reload`, or hand its"
    " deliveries over by `relayd rename {name} NEW`",
}
"""Why a subscription is held, and what releases its deliveries; `{name}` is its name."""

HOLD_COMMANDS: Final = {
    Hold.PAUSED: "relayd resume {name}",
    Hold.GONE: "relayd resume {name}",
    Hold.INACTIVE: None,
    Hold.REMOVED: "relayd rename {name} NEW",
}
"""The command that ends a hold; None where it takes a change of the configuration. `{name}` is its name."""

RENAMED_HOLDS: Final = {
    Hold.INACTIVE: "it has active: false in the configuration",
    Hold.REMOVED: "it is gone from the configuration",
    Hold.GONE: "its receiver answered 410 Gone, and `relayd resume` resumes it",
}
"""Why the subscription that took a backlog over is held."""
