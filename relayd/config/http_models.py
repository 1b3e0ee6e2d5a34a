"""The shape of `http:` in the file, as pydantic models. They check what `models` says."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

from relayd.config.fields import Label, Markets, Name, Network, Section, wrong_value
from relayd.config.subscription_models import SecretValue
from relayd.core.web_access import parse_listen


def _check_listen(text: str) -> str:
    if parse_listen(text) is None:
        raise wrong_value(
            "must be an IP address and a port, or a Unix socket",
            "as 127.0.0.1:8787, [::1]:8787 or unix:/run/relayd/web.sock",
        )
    return text


def _check_base_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username or not text.isascii():
        raise wrong_value("must be the start of a URL", "as https://relay.market.example")
    if parts.path.strip("/"):
        raise wrong_value("has a path; relayd is served at the top of a host", "leave the path out")
    return text.rstrip("/")


ListenAddress = Annotated[
    str,
    AfterValidator(_check_listen),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:8787", "unix:/run/relayd/web.sock"]}),
]
BaseUrl = Annotated[
    str, AfterValidator(_check_base_url), WithJsonSchema({"type": "string", "format": "uri"})
]


class ProducerSection(Section):
    """A program that hands events over by HTTP."""

    token: SecretValue = Field(description="Its token: the text itself, or its source.")
    market_id: Label | None = Field(
        default=None, description="The market of its events; by default the file's."
    )
    markets: Markets = Field(
        default=[], description='Other markets that an event may name; "*" for any.'
    )


class HttpSection(Section):
    """The web process: dashboard, metrics, feed, API and inbound webhooks."""

    listen: ListenAddress = Field(
        description="Where everything is served: 127.0.0.1:8787, or unix:/run/relayd/web.sock."
    )
    public: ListenAddress | None = Field(
        default=None,
        description="Where /in/ and /v1/events alone are served, for the internet; none by default.",
    )
    base_url: BaseUrl | None = Field(
        default=None,
        description="The URL by which browsers and providers reach it, where that is a proxy's.",
    )
    trusted_proxies: Annotated[list[Network], Field(max_length=100)] = Field(
        default=[], description="Networks of proxies whose X-Forwarded-For is believed."
    )
    token: SecretValue | None = Field(
        default=None,
        description="The token that may do everything: the text itself, or its source; none serves"
        " everybody who reaches a loopback address or a Unix socket.",
    )
    read_token: SecretValue | None = Field(
        default=None, description="The token that may look at everything."
    )
    producers: Annotated[dict[Name, ProducerSection], Field(max_length=1000)] = Field(
        default={}, description="Programs that hand events over by HTTP, by name."
    )
