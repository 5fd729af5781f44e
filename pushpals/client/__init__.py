"""The only way a role, a notebook or a command reaches the hub."""

from pushpals.client.hub import HubClient, State
from pushpals.client.retry import Backoff
from pushpals.client.stream import Reset

__all__ = ["Backoff", "HubClient", "Reset", "State"]
