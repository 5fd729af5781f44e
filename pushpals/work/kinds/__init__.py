"""The built-in job kinds, one file each.

They are registered under the entry point ``pushpals.kinds`` like everybody's. The table below says the same
for a source tree that is not installed, and wins over a stranger's package that takes one of these names.
"""

from __future__ import annotations

from collections.abc import Mapping

BUILT_IN: Mapping[str, str] = {
    name: f"pushpals.work.kinds.{name}:KIND"
    for name in ("check", "command", "patch", "fix", "look", "agent", "revert")
}
