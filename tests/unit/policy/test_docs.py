"""The documentation and the tables it describes agree."""

from __future__ import annotations

import re
from pathlib import Path

from pushpals.policy.display import SUSPICIONS
from pushpals.policy.patterns import PATTERNS, PEM_KIND
from pushpals.policy.presets import PRESETS, PROTECTED
from pushpals.policy.reasons import REASONS
from pushpals.policy.rules import Rule, _Table, builtin_policy, load_policy_text

DOCS = Path(__file__).parents[3] / "docs" / "reference"


def listed(page: str, heading: str) -> list[tuple[str, str]]:
    """The rows of the table under a heading: first and last column."""
    section = (DOCS / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \|(?:.*\|)? ([^|]+) \|$", section, re.MULTILINE)
    return [(code, text.strip()) for code, text in rows]


def test_every_reason_code_is_documented_word_for_word() -> None:
    assert dict(listed("policy.md", "Reason codes")) == REASONS


def test_every_built_in_rule_has_a_reason() -> None:
    for preset in PRESETS:
        policy = builtin_policy(preset)
        assert {rule.code for rule in (*policy.deny, *policy.ask)} <= set(REASONS)


def test_every_key_of_a_rule_and_of_the_table_is_documented() -> None:
    text = (DOCS / "policy.md").read_text()
    for field in (*Rule.__struct_fields__, *_Table.__struct_fields__):
        if field != "source":
            assert f"`{field}`" in text, field
    for pattern in PROTECTED:
        assert f"`{pattern}`" in text, pattern


def test_the_example_policy_loads() -> None:
    for block in re.findall(r"```toml\n(.*?)```", (DOCS / "policy.md").read_text(), re.DOTALL):
        load_policy_text(block)


def test_every_kind_of_secret_and_every_suspicion_is_documented() -> None:
    assert {code for code, _ in listed("redaction.md", "Recognised shapes")} == {
        PEM_KIND,
        *(pattern.kind for pattern in PATTERNS),
    }
    assert dict(listed("redaction.md", "Suspicious characters")) == SUSPICIONS
