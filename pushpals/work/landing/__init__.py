"""The git side of landing: judge a branch, merge it without a checkout, push it in one transaction.

Pure parts over a bare repository. The state machine, its table and its events live elsewhere.
"""
