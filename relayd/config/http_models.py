"""The shape of `http:` in the file, as pydantic models. They check what `models` says."""

from typing import Annotated

from pydantic import Field

from relayd.config.fields import BaseUrl, Label, ListenAddress, Markets, Name, Network, Section
from relayd.config.subscription_models import SecretValue


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
