"""The serial-pusher: a merge queue that lands exactly the commits that were tested and approved."""

from pushpals.roles.pusher.assemble import open_pusher
from pushpals.roles.pusher.lane import LaneLost
from pushpals.roles.pusher.pusher import PusherSettings, SerialPusher
from pushpals.roles.pusher.verifier import Verifier

__all__ = ["LaneLost", "PusherSettings", "SerialPusher", "Verifier", "open_pusher"]
