"""How fast the policy package is: redaction in MB/s, decisions and parses a second, and its worst inputs.

Run with ``python -m bench.policy`` or ``python bench/policy.py``. Prints a table; exits 1 when a figure is
below a tenth of what it was when this was written (see ``FLOORS``), so that a blow-up is noticed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter

from pushpals.policy.actions import ExecAction
from pushpals.policy.decide import decide
from pushpals.policy.patterns import PATTERNS
from pushpals.policy.redact import Redactor, Secret
from pushpals.policy.rules import builtin_policy
from pushpals.policy.shell import parse

LOG = (
    b"2026-01-01T00:00:00Z INFO  building //app:lib from https://example.org/x sha256="
    + b"9f86d081" * 8
    + b"\n"
    b"FAILED tests/test_app.py::test_it - AssertionError: assert {'a': 1} == {'a': 2}\n"
)
SECRETS = [Secret(name=f"KEY_{number}", value=f"value-{number}-" + "k7Qx" * 6) for number in range(10)]
CHUNK = 64 * 1024

FLOORS = {"redact plain log": 4.0, "redact, 10 known values": 1.5,
          "redact hostile": 0.3, "decide argv": 500.0,
          "decide plain script": 300.0, "decide shell script": 200.0, "parse hostile": 0.5}  # fmt: skip


def megabytes_a_second(data: bytes, secrets: list[Secret]) -> float:
    redactor = Redactor(secrets)
    start = perf_counter()
    for at in range(0, len(data), CHUNK):
        redactor.feed(data[at : at + CHUNK])
    redactor.flush()
    return len(data) / 1e6 / (perf_counter() - start)


def times_a_second(call: Callable[[], object], seconds: float = 0.5) -> float:
    start = perf_counter()
    count = 0
    while perf_counter() - start < seconds:
        call()
        count += 1
    return count / (perf_counter() - start)


def figures() -> dict[str, tuple[float, str]]:
    log = LOG * (8_000_000 // len(LOG))
    hostile = [
        (unit * 2_000_000)[:2_000_000] for unit in (b"://a:", b"eyJ.", b"eyJa-", b"Bearer ", b"sk-", b"AKIA")
    ]
    hostile += [(pattern.example + b" ") * 20_000 for pattern in PATTERNS[:3]]
    policy = builtin_policy("standard")
    argv = ExecAction(argv=("timeout", "60", "pytest", "-q", "tests"))
    plain = ExecAction(script="cd sub && git status --short | head -20; ls -la 2>/dev/null")
    shell = ExecAction(
        script='for f in *.py; do python -m py_compile "$f" || exit 1; done; echo $(git rev-parse HEAD)'
    )
    scripts = [(unit * 16384)[:16384] for unit in ("a|", "a;", "$(", "x=(", "f()", "<<a ", "[[ a == ", "(")]
    return {
        "redact plain log": (megabytes_a_second(log, []), "MB/s"),
        "redact, 10 known values": (megabytes_a_second(log, SECRETS), "MB/s"),
        "redact hostile": (min(megabytes_a_second(data, SECRETS) for data in hostile), "MB/s"),
        "decide argv": (times_a_second(lambda: decide(policy, argv)), "1/s"),
        "decide plain script": (times_a_second(lambda: decide(policy, plain)), "1/s"),
        "decide shell script": (times_a_second(lambda: decide(policy, shell)), "1/s"),
        "parse hostile": (
            min(times_a_second(lambda text=text: parse(text), 0.05) for text in scripts),
            "1/s",
        ),
    }


def main() -> int:
    slow = 0
    for name, (value, unit) in figures().items():
        low = value < FLOORS[name]
        slow += low
        print(f"{name:26} {value:12,.1f} {unit:5}{'  below ' + str(FLOORS[name]) if low else ''}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
