"""Inbound webhooks: a provider's request is verified, and mapped to an event."""
