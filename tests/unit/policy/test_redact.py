"""What never reaches storage, whatever way it was written."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.policy.patterns import PATTERNS, REACH, SecretPattern
from pushpals.policy.redact import Redactor, Secret, redact_text

CANARY = "c4nary/v@lue+with?odd chars"
KEY = Secret(name="CANARY", value=CANARY)
PEM = "\n".join(
    [
        "-----BEGIN RSA PRIVATE " + "KEY-----",
        *["MIIEowIBAAKCAQEAx7ab" * 3 + "aa+/"] * 25,
        "-----END RSA PRIVATE " + "KEY-----",
    ]
)

ids = [f"{pattern.kind}-{number}" for number, pattern in enumerate(PATTERNS)]


@pytest.mark.parametrize("pattern", PATTERNS, ids=ids)
def test_g02_every_kind_of_token_is_hidden(pattern: SecretPattern) -> None:
    shown = redact_text(f"before {pattern.example.decode()} after\n")

    assert f"[REDACTED:{pattern.kind}:" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after\n")


@pytest.mark.parametrize("pattern", PATTERNS, ids=ids)
def test_a_pattern_keeps_what_the_redactor_relies_on(pattern: SecretPattern) -> None:
    assert any(anchor in pattern.example for anchor in pattern.anchors)
    found = pattern.regex.search(pattern.example)
    assert found is not None
    assert b"\n" not in found[0]
    overlong = pattern.example + b"A" * (2 * REACH)
    for match in pattern.regex.finditer(overlong):
        assert len(match[0]) < REACH


def test_there_are_at_least_fourteen_kinds() -> None:
    assert len({pattern.kind for pattern in PATTERNS}) >= 14


@given(st.data())
def test_g04_the_cuts_of_a_stream_never_change_the_result(data: st.DataObject) -> None:
    pieces = st.sampled_from(
        [pattern.example for pattern in PATTERNS]
        + [CANARY.encode(), base64.b64encode(b"x" + CANARY.encode()), CANARY.encode().hex().encode()]
        + [
            PEM.encode(),
            PEM.encode()[:300],
            b"\n",
            b" ",
            b"word",
            b"=",
            b"A" * 50,
            b"eyJ",
            b"://",
            b"c4nary/",
            b"-----",
        ]
        + [b"B" * 5000, b"sk-" + b"a" * 9000]
    )
    stream = b"".join(data.draw(st.lists(pieces, max_size=12)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))

    redactor = Redactor([KEY])
    parts = [redactor.feed(stream[a:b]) for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    cut = b"".join(parts) + redactor.flush()

    assert cut == Redactor([KEY]).redact(stream)
    assert CANARY.encode() not in cut


@given(st.binary(max_size=400))
def test_bytes_one_at_a_time_are_the_same_as_at_once(noise: bytes) -> None:
    stream = noise + CANARY.encode() + noise + PATTERNS[0].example + b" " + noise
    redactor = Redactor([KEY])

    slow = b"".join(redactor.feed(bytes([byte])) for byte in stream) + redactor.flush()

    assert slow == Redactor([KEY]).redact(stream)
    assert CANARY.encode() not in slow


@pytest.mark.parametrize(
    "form",
    [
        CANARY,
        base64.b64encode(CANARY.encode()).decode(),
        base64.b64encode(b"a" + CANARY.encode() + b"zz").decode(),
        base64.b64encode(b"ab" + CANARY.encode() + b"z").decode(),
        base64.urlsafe_b64encode(b"user:" + CANARY.encode()).decode(),
        CANARY.encode().hex(),
        CANARY.encode().hex().upper(),
        quote(CANARY, safe=""),
        quote(CANARY),
        quote(CANARY, safe="").lower(),
        quote_plus(CANARY),
    ],
    ids=[
        "raw",
        "base64",
        "base64-1",
        "base64-2",
        "base64url",
        "hex",
        "HEX",
        "percent",
        "path",
        "lower",
        "form",
    ],
)
def test_a_known_value_is_hidden_in_every_encoding(form: str) -> None:
    shown = redact_text(f"<{form}>\n", [KEY])

    assert "[REDACTED:CANARY:" in shown
    assert "c4nary" not in shown


def test_a_value_with_quotes_and_line_breaks_is_hidden_in_json() -> None:
    secret = Secret(name="K", value='pa"ss\nwörd/1')
    for ascii_only in (True, False):
        shown = redact_text(json.dumps({"k": secret.value}, ensure_ascii=ascii_only), [secret])
        assert shown.startswith('{"k": "[REDACTED:K:')


def test_base64_broken_into_lines_is_hidden() -> None:
    secret = Secret(name="LONG", value="correct horse battery staple " * 6)
    shown = redact_text(base64.encodebytes(secret.value.encode()).decode(), [secret])

    assert "Y29ycmVjd" not in shown
    assert shown.startswith("[REDACTED:LONG:")


def test_equal_values_have_equal_marks_and_the_mark_is_the_start_of_their_hash() -> None:
    digest = hashlib.sha256(CANARY.encode()).hexdigest()[:6]

    assert (
        redact_text(f"{CANARY} {CANARY.encode().hex()}", [KEY])
        == f"[REDACTED:CANARY:{digest}] [REDACTED:CANARY:{digest}]"
    )


def test_overlapping_known_values_are_hidden_as_one() -> None:
    secrets = [Secret(name="A", value="abcdefghijkl"), Secret(name="B", value="ijklmnopqrst")]

    assert redact_text("<abcdefghijklmnopqrst>", secrets).count("REDACTED") == 1
    assert "mnop" not in redact_text("<abcdefghijklmnopqrst>", secrets)


def test_short_values_are_left_alone() -> None:
    assert redact_text("the cat sat", [Secret(name="S", value="cat")]) == "the cat sat"


@pytest.mark.parametrize("wrap", ["{}", "  {}", '"{}"', "-----\n{}"])
def test_g06_a_private_key_is_hidden_whole(wrap: str) -> None:
    for body in (
        PEM,
        PEM.replace("\n", "\\n"),
        PEM.replace("\n", "\r\n"),
        PEM.replace("\n", "\n2024-01-01 12:00:00.1 [app] "),
    ):
        shown = redact_text("first\n" + wrap.format(body) + "\nlast\n")

        assert "MIIE" not in shown
        assert "[REDACTED:private-key:" in shown
        assert shown.startswith("first\n")
        assert shown.endswith("last\n")


def test_a_key_that_never_ends_hides_only_what_looks_like_one() -> None:
    shown = redact_text(PEM[:200] + "\n" + "(and) then (the) log (goes) on\n" * 1000)

    assert "MIIE" not in shown
    assert shown.count("log (goes) on") >= 999


@pytest.mark.parametrize(
    "ordinary",
    [
        hashlib.sha256(b"x").hexdigest(),
        hashlib.sha1(b"x", usedforsecurity=False).hexdigest(),
        "sha512-" + base64.b64encode(hashlib.sha512(b"x").digest()).decode(),
        "123e4567-e89b-12d3-a456-426614174000",
        "--hash=sha256:" + hashlib.sha256(b"y").hexdigest(),
        "risk-assessment-of-the-very-long-kind-0001",
        "task-0123456789abcdef0123456789",
        "https://example.org/a/b?c=d#e",
        "git@github.com:me/repo.git",
        "ssh://git@example.org:22/x",
        "https://user:${PASSWORD}@example.org/",
        "https://user:<password>@example.org/",
        "pypi-attestations is a package",
        "the bearer of this letter",
        "hf_hub_download(repo_id)",
        "npm_config_registry",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "eyJ is how a JSON object begins",
        "sk-circle-fade-dot sk-chase",
    ],
)
def test_g10_ordinary_text_is_not_hidden(ordinary: str) -> None:
    assert redact_text(f"x {ordinary} y\n") == f"x {ordinary} y\n"


def test_an_overlong_token_does_not_leak_its_end() -> None:
    token = PATTERNS[0].example.decode()[:4]
    assert token == "AKIA"
    jwt = "eyJ" + "a" * 900 + "." + "b" * 900 + "." + "c" * 20_000
    redactor = Redactor()
    shown = (
        b"".join(redactor.feed(jwt.encode()[at : at + 777]) for at in range(0, len(jwt), 777))
        + redactor.flush()
    )

    assert shown.startswith(b"[REDACTED:jwt:")
    assert len(shown) < 40


def test_only_the_password_of_an_address_is_hidden() -> None:
    shown = redact_text("fetch https://me:hunter2hunter2@example.org/x\n")

    assert shown.startswith("fetch https://me:[REDACTED:url-credential:")
    assert shown.endswith("]@example.org/x\n")


@pytest.mark.parametrize(
    "unit",
    [
        "://a:",
        "eyJ.",
        "eyJa-",
        "AKIA",
        "sk-",
        "Bearer ",
        "-----BEGIN PRIVATE KEY-----",
        "c4nary/v",
        "xoxb-",
        "A",
    ],
)
def test_hostile_repetition_is_read_to_the_end(unit: str) -> None:
    stream = (unit * 20_000 + f"\n{PATTERNS[0].example.decode()} {CANARY}\n").encode()
    redactor = Redactor([KEY])
    parts = [redactor.feed(stream[at : at + 4099]) for at in range(0, len(stream), 4099)]

    assert b"".join(parts) + redactor.flush() == Redactor([KEY]).redact(stream)


def test_a_secret_does_not_print_its_value() -> None:
    assert CANARY not in repr(KEY)


def test_undecodable_text_passes() -> None:
    assert redact_text("a\udc80b") == "a\udc80b"
