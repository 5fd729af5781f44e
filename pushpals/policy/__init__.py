"""The rules: what may run, land and be shown. Pure functions over plain data; nothing here touches a machine.

Start at :mod:`pushpals.policy.decide` for decisions, :mod:`pushpals.policy.api` for the command line's
view of them, :mod:`pushpals.policy.redact` and :mod:`pushpals.policy.display` for output.
"""
