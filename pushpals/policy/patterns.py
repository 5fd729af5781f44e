"""The shapes of secrets that can be recognised without knowing them.

One table for two users: the stream redactor and the scan of a diff before landing. Every entry names
a literal ``anchor`` that each of its matches contains: looking for the anchors first is what keeps the
table fast on text that has none. Every pattern starts with a literal, is bounded, stays within one
line, and decides within :data:`REACH` bytes of its start; the redactor relies on all four.

``tail`` is the class of bytes that belong to a token after its bounded match, so that an overlong one
does not leak its end. The group ``secret``, where there is one, is the part to hide.

Shapes are the issuers' published ones. There is no entropy rule: those flag checksums, and a log full
of false marks is not read (two such rules gave ten hits a line in a trial).
"""

from __future__ import annotations

import re

import msgspec

REACH = 4096
"""Bytes after the start of a match within which every pattern has decided."""


class SecretPattern(msgspec.Struct, frozen=True, kw_only=True):
    """One recognisable kind of secret."""

    kind: str
    """Appears in the replacement and in findings."""
    anchors: tuple[bytes, ...]
    regex: re.Pattern[bytes]
    tail: re.Pattern[bytes] | None = None
    example: bytes
    """Joined from two halves where it would itself be taken for a key."""


_ALNUM = re.compile(rb"[A-Za-z0-9]*")
_WORD = re.compile(rb"[A-Za-z0-9_-]*")
_DOTTED = re.compile(rb"[A-Za-z0-9_.~+/=-]*")


def _pattern(
    kind: str,
    anchors: bytes | tuple[bytes, ...],
    regex: bytes,
    *,
    tail: re.Pattern[bytes] | None = None,
    example: bytes,
) -> SecretPattern:
    return SecretPattern(
        kind=kind,
        anchors=(anchors,) if isinstance(anchors, bytes) else anchors,
        regex=re.compile(regex),
        tail=tail,
        example=example,
    )


# A pattern begins with its literal and only then looks back, so that the search can skip to the literal.
PATTERNS: tuple[SecretPattern, ...] = (
    _pattern(
        "aws-key",
        b"AKIA",
        rb"AKIA(?<![A-Za-z0-9]AKIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        example=b"AKIA" + b"IOSFODNN7EXAMPLE",
    ),
    _pattern(
        "aws-key",
        b"ASIA",
        rb"ASIA(?<![A-Za-z0-9]ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        example=b"ASIA" + b"IOSFODNN7EXAMPLE",
    ),
    _pattern(
        "aws-secret",
        b"aws_secret_access_key",
        rb"aws_secret_access_key[\"']?[ \t]{0,8}[=:][ \t]{0,8}[\"']?(?P<secret>[A-Za-z0-9/+=]{40})",
        example=b"aws_secret_access_key = " + b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ),
    _pattern(
        "aws-secret",
        b"AWS_SECRET_ACCESS_KEY",
        rb"AWS_SECRET_ACCESS_KEY[\"']?[ \t]{0,8}[=:][ \t]{0,8}[\"']?(?P<secret>[A-Za-z0-9/+=]{40})",
        example=b"AWS_SECRET_ACCESS_KEY=" + b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ),
    _pattern(
        "github-token",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
        rb"gh(?<![A-Za-z0-9]gh)[pousr]_[A-Za-z0-9]{30,255}",
        tail=_ALNUM,
        example=b"ghp_" + b"16C7e42F292c6912E7710c838347Ae178B4a",
    ),
    _pattern(
        "github-token",
        b"github_pat_",
        rb"github_pat_[A-Za-z0-9_]{22,255}",
        tail=_WORD,
        example=b"github_pat_" + b"11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789",
    ),
    _pattern(
        "gitlab-token",
        (b"glpat-", b"glptt-", b"gldt-", b"glrt-", b"glcbt-", b"glsoat-"),
        rb"gl(?<![A-Za-z0-9]gl)(?:pat|ptt|dt|rt|cbt|soat)-[A-Za-z0-9_.-]{20,255}",
        tail=_WORD,
        example=b"glpat-" + b"aBcDeFgHiJkLmNoPqRsT",
    ),
    _pattern(
        "anthropic-key",
        b"sk-ant-",
        rb"sk-ant-(?<![A-Za-z0-9]sk-ant-)[A-Za-z0-9_-]{16,255}",
        tail=_WORD,
        example=b"sk-ant-" + b"api03-aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789",
    ),
    _pattern(
        "openai-key",
        b"sk-",
        rb"sk-(?<![A-Za-z0-9_-]sk-)"
        rb"(?:(?:proj|svcacct|admin|None|or|lf)-(?=[A-Za-z_-]{0,200}[0-9])[A-Za-z0-9_-]{16,255}"
        rb"|[A-Za-z0-9]{20,255})",
        tail=_WORD,
        example=b"sk-proj-" + b"aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789",
    ),
    _pattern(
        "stripe-key",
        (b"sk_live_", b"rk_live_", b"sk_test_", b"rk_test_"),
        rb"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,255}",
        tail=_ALNUM,
        example=b"sk_live_" + b"4eC39HqLyjWDarjtT1zdp7dc",
    ),
    _pattern(
        "slack-token",
        (b"xoxa-", b"xoxb-", b"xoxe-", b"xoxo-", b"xoxp-", b"xoxr-", b"xoxs-", b"xoxc-", b"xoxd-", b"xapp-"),
        rb"x(?<![A-Za-z0-9]x)(?:ox[abcdeoprs]|app)-[A-Za-z0-9%-]{10,255}",
        tail=_WORD,
        example=b"xoxb-" + b"123456789012-123456789012-aBcDeFgHiJkLmNoPqRsTuVwX",
    ),
    _pattern(
        "slack-webhook",
        b"hooks.slack.com/",
        rb"hooks\.slack\.com/(?:services|workflows)/(?P<secret>[A-Za-z0-9/_-]{20,255})",
        tail=_WORD,
        example=b"https://hooks.slack.com/services/" + b"T00000000/B00000000/aBcDeFgHiJkLmNoPqRsTuVwX",
    ),
    _pattern(
        "google-key",
        b"AIza",
        rb"AIza(?<![A-Za-z0-9]AIza)[0-9A-Za-z_-]{35}(?![0-9A-Za-z])",
        example=b"AIza" + b"SyA1234567890abcdefghijklmnopqrstuv",
    ),
    _pattern(
        "google-key",
        b"GOCSPX-",
        rb"GOCSPX-[A-Za-z0-9_-]{20,64}",
        example=b"GOCSPX-" + b"aBcDeFgHiJkLmNoPqRsTuVwXyZ01",
    ),
    _pattern(
        "npm-token",
        b"npm_",
        rb"npm_(?<![A-Za-z0-9_]npm_)[A-Za-z0-9]{36,255}",
        tail=_ALNUM,
        example=b"npm_" + b"aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789",
    ),
    _pattern(
        "pypi-token",
        b"pypi-",
        rb"pypi-(?<![A-Za-z0-9-]pypi-)(?=[A-Za-z_-]{0,200}[0-9])(?=[a-z0-9_-]{0,200}[A-Z])"
        rb"[A-Za-z0-9_-]{24,512}",
        tail=_WORD,
        example=b"pypi-" + b"AgEIcHlwaS5vcmcCJDAwMDAwMDAwLTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMA",
    ),
    _pattern(
        "huggingface-token",
        b"hf_",
        rb"hf_(?<![A-Za-z0-9_]hf_)[A-Za-z0-9]{30,255}",
        tail=_ALNUM,
        example=b"hf_" + b"aBcDeFgHiJkLmNoPqRsTuVwXyZ01234567",
    ),
    _pattern(
        "docker-token",
        b"dckr_pat_",
        rb"dckr_pat_[A-Za-z0-9_-]{20,255}",
        tail=_WORD,
        example=b"dckr_pat_" + b"aBcDeFgHiJkLmNoPqRsTuVwXyZ0",
    ),
    _pattern(
        "sendgrid-key",
        b"SG.",
        rb"SG\.(?<![A-Za-z0-9]SG\.)[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{32,128}",
        tail=_WORD,
        example=b"SG." + b"aBcDeFgHiJkLmNoPqRsTuV.aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFg",
    ),
    _pattern(
        "jwt",
        b"eyJ",
        rb"eyJ(?<![A-Za-z0-9_-]eyJ)[A-Za-z0-9_-]{8,1024}\.[A-Za-z0-9_-]{8,2048}\.[A-Za-z0-9_-]{8,512}",
        tail=_DOTTED,
        example=b"eyJ" + b"hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    ),
    _pattern(
        "pushpals-token",
        b"pp_",
        rb"pp_(?<![A-Za-z0-9_]pp_)[a-z]{3,16}_[A-Za-z0-9-]{4,64}_[A-Za-z0-9_-]{43,64}",
        tail=_WORD,
        example=b"pp_worker_" + b"k3Jd92ma_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFg",
    ),
    _pattern(
        "url-credential",
        b"://",
        rb"://(?<=[A-Za-z0-9]://)(?:[^\s/:@\"'<>]{0,128}:(?![$<{*\[])(?P<secret>[^\s/@\"'<>]{3,256})@)",
        example=b"https://me:" + b"hunter2hunter2@example.org/x",
    ),
    _pattern(
        "url-credential",
        b"://",
        rb"://(?<=http://)(?P<secret>[A-Za-z0-9_.~-]{20,256})@",
        example=b"http://" + b"aBcDeFgHiJkLmNoPqRsTuVwXyZ@example.org/x",
    ),
    _pattern(
        "url-credential",
        b"://",
        rb"://(?<=https://)(?P<secret>[A-Za-z0-9_.~-]{20,256})@",
        example=b"https://" + b"aBcDeFgHiJkLmNoPqRsTuVwXyZ@example.org/x",
    ),
    _pattern(
        "bearer",
        (b"uthorization", b"UTHORIZATION"),
        rb"(?:uthorization|UTHORIZATION)[\"']?[ \t]{0,8}[:=][ \t]{0,8}[\"']?"
        rb"(?:[Bb]asic|[Tt]oken|BASIC|TOKEN|[Bb]earer|BEARER)[ \t]{1,8}"
        rb"(?P<secret>[A-Za-z0-9._~+/=-]{8,2048})",
        tail=_DOTTED,
        example=b"Authorization: Basic " + b"bWU6aHVudGVyMmh1bnRlcjI=",
    ),
    _pattern(
        "bearer",
        (b"earer ", b"EARER "),
        rb"(?:earer|EARER) {1,8}(?=[A-Za-z._~+/=-]{0,200}[0-9])(?P<secret>[A-Za-z0-9._~+/=-]{16,2048})",
        tail=_DOTTED,
        example=b"bearer " + b"aBcDeFgHiJkLmNoPqRsT0123",
    ),
    _pattern(
        "api-key-header",
        (b"-api-key", b"-Api-Key", b"-API-Key", b"-API-KEY"),
        rb"-(?:api-key|Api-Key|API-Key|API-KEY)[\"']?[ \t]{0,8}[:=][ \t]{0,8}[\"']?"
        rb"(?P<secret>[A-Za-z0-9._~+/=-]{16,512})",
        tail=_DOTTED,
        example=b"X-Api-Key: " + b"aBcDeFgHiJkLmNoPqRsT0123",
    ),
)

PEM_BEGIN = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
PEM_END = re.compile(rb"-----END (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
PEM_BODY = re.compile(rb"[A-Za-z0-9+/=\s\\\"'>|,:.-]*")
PEM_MAX = 12 * 1024
"""Longest private key block looked for: an 8192-bit RSA key with a prefix on every line is under 9 KiB."""
PEM_KIND = "private-key"
