"""The first configuration, as `relayd init` writes it: enough to run beside `relayd listen`."""

import json
from string import Template
from typing import Final

FIRST_MARKET_ID: Final = "market_123"

_FIRST_CONFIG: Final = Template("""\
# relayd's configuration. All settings: config.example.yaml. After a change: `relayd reload`.
market_id: $market_id
include: subscriptions.d/*.yaml  # further subscriptions: `relayd add` writes them here

spools:                      # tables into which your programs insert events
  market: {path: spool/spool.db}
socket: {path: relayd.sock}  # or they write lines of JSON to this
queue: {path: queue.db}      # relayd's own: what it has accepted

# URLs lead to public addresses only, except these: this machine, to try it out.
allow_networks: [127.0.0.0/8]

subscriptions:
  first:
    # `relayd listen` is a receiver that prints what arrives here.
    url: http://127.0.0.1:8080/webhooks
    events: ["*"]            # or [order.created, payment.*]; `relayd types` lists them
    secret: $secret
""")


def first_config(secret: str, market_id: str = FIRST_MARKET_ID) -> str:
    """Return the file's text. The caller makes `secret` at random, and keeps the file private.

    Paths are relative: everything is in the directory of the file.
    """
    # A JSON string is a YAML string too, whatever is in it.
    return _FIRST_CONFIG.substitute(
        secret=json.dumps(secret, ensure_ascii=False),
        market_id=json.dumps(market_id, ensure_ascii=False),
    )
