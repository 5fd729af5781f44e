"""``Console()``: the console in a notebook's cell.

The page picks the road. Where the Jupyter server has our extension and means the same hub, it goes there:
that never waits for the kernel, and a person may decide. Otherwise it goes through the kernel
(:mod:`pushpals.notebook.relay`).

Only small, harmless settings are traits, because a saved notebook may hold them: which session, how high,
and a fingerprint of the hub's address. No event, no token and no address is among them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from pushpals.client.discovery import Found, NothingFound
from pushpals.config import ConfigError
from pushpals.notebook.discovery import find_hub
from pushpals.notebook.relay import Relay

BUNDLE = Path(__file__).with_name("static") / "widget.js"


class Console(anywidget.AnyWidget):
    """The console for one session.

    ``session``, ``url`` and ``token`` are found when they are not given (:func:`find_hub`). ``height`` is in
    pixels. Without a hub the console says so, and finds it when it is there.
    """

    _esm = BUNDLE
    session = traitlets.Unicode("dev").tag(sync=True)
    height = traitlets.Int(600, min=200, max=4000).tag(sync=True)
    hub = traitlets.Unicode("", read_only=True).tag(sync=True)

    def __init__(
        self,
        session: str | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        height: int = 600,
    ) -> None:
        def find() -> Found:
            return find_hub(url, token, session)

        name = session or "dev"
        fingerprint = ""
        try:
            found = find()
            name, fingerprint = found.session_id, found.fingerprint
        except (NothingFound, ConfigError):
            pass  # the page asks again, and shows the sentence
        super().__init__(session=name, height=height)
        self.set_trait("hub", fingerprint)
        self._relay = Relay(self._tell, find)
        self.on_msg(self._heard)

    def close(self) -> None:
        """Take the console away and end its requests. May be called twice."""
        self._relay.close()
        super().close()

    def __repr__(self) -> str:
        return f"Console(session={self.session!r})"

    def _tell(self, content: dict[str, Any], buffers: Any = None) -> None:
        self.send(content, buffers)

    def _heard(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict):
            self._relay.take(content)
