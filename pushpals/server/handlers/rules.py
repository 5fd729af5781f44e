"""Standing answers. Only an operator gets here."""

from __future__ import annotations

from pushpals.hub import rules
from pushpals.hub.of import Of
from pushpals.protocol.approvals import RememberedRule
from pushpals.protocol.commands import BackTest, MakeRule, Ok, RuleMade, Rules
from pushpals.server.base import Handler, needs


class RuleList(Handler):
    """``/rules``"""

    @needs("rule.manage")
    async def get(self) -> None:
        found = await self.hub.store.reader.find(RememberedRule, limit=1_000)
        self.reply(
            Rules(items=[rule for rule in found if rule.session_id is None or self.sees(rule.session_id)])
        )

    @needs("rule.manage")
    async def post(self) -> None:
        body = self.body(MakeRule)
        self.reply(await self.hub.run(rules.make, body, actor=self.actor, key=self.key, reply=RuleMade), 201)


class RuleTest(Handler):
    """``/rules/test``"""

    @needs("rule.manage")
    async def post(self) -> None:
        body = self.body(MakeRule)
        self.reply(await self.hub.run(rules.back_test, body, actor=self.actor, key=self.key, reply=BackTest))


class RuleRevoke(Handler):
    """``/rules/:id/revoke``"""

    @needs("rule.manage")
    async def post(self, rule_id: str) -> None:
        ask = Of(id=rule_id, body=self.body(Ok))
        self.reply(
            await self.hub.run(rules.revoke, ask, actor=self.actor, key=self.key, reply=RememberedRule)
        )
