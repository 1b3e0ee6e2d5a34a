"""Names that commands do not have, and what is meant by them: for whoever knows other programs.

Small, since each command line that is wrong loads it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_SERVICE: Final = "as a service `systemctl {verb} relayd`"

OTHER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "start": f"`relayd run` runs it in the foreground; {_SERVICE.format(verb='start')}.",
        "serve": f"`relayd run` runs it in the foreground; {_SERVICE.format(verb='start')}.",
        "daemon": f"`relayd run` runs it in the foreground; {_SERVICE.format(verb='start')}.",
        "stop": f"Press Ctrl-C where `relayd run` runs; {_SERVICE.format(verb='stop')}.",
        "restart": "Ctrl-C and `relayd run`; as a service `systemctl restart relayd`. For a changed"
        " configuration `relayd reload` is enough.",
        "logs": "`journalctl -u relayd` for the service's log; `relayd run` writes to the terminal."
        " `relayd deliveries --follow` prints each delivery.",
        "log": "`journalctl -u relayd` for the service's log; `relayd run` writes to the terminal."
        " `relayd deliveries --follow` prints each delivery.",
        "tail": "`relayd deliveries --follow` prints each delivery; `journalctl -fu relayd` the log.",
        "send": "`relayd emit TYPE` hands over an event; `relayd test SUBSCRIPTION` sends a sample to"
        " one receiver.",
        "publish": "`relayd emit TYPE` hands over an event.",
        "trigger": "`relayd emit TYPE --sample` hands over a sample event.",
        "resend": "`relayd replay` sends deliveries again.",
        "validate": "`relayd check` validates the configuration.",
        "lint": "`relayd check` validates the configuration.",
        "config": "`relayd check` validates the configuration and prints how it is interpreted.",
        "list": "`relayd deliveries` lists deliveries, `relayd events` events, `relayd types` event"
        " types, and `relayd check` shows the subscriptions.",
        "ls": "`relayd deliveries` lists deliveries, `relayd events` events, `relayd types` event"
        " types, and `relayd check` shows the subscriptions.",
        "subscriptions": "`relayd check` shows the subscriptions, `relayd status` how they stand.",
        "queue": "`relayd status` shows the backlog, `relayd deliveries` lists it.",
        "why": "`relayd explain EVENT` says why an event did or did not arrive.",
        "version": "`relayd --version` prints it.",
        "help": "`relayd --help` lists the commands, `relayd COMMAND --help` explains one.",
    }
)
"""What to say for each."""
