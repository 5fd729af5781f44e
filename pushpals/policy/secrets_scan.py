"""The secret scan before landing: what a branch adds, looked at file by file.

``scan`` takes the text that a diff adds to one path and reports where a secret seems to be: rule, path
and line, never the value. Key files are refused by name alone. The fingerprint of a finding lets an
operator accept exactly that value of that rule in the policy; nothing in a repository can.

Entropy is not used (see :mod:`pushpals.policy.patterns`), so a secret of unknown shape is not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

import msgspec

from pushpals.policy.patterns import PATTERNS, PEM_BEGIN, PEM_KIND
from pushpals.policy.redact import MIN_VALUE_BYTES, Secret

MAX_FINDINGS = 100
"""Findings reported for one path; the rest adds nothing to the answer."""

KEY_FILES: tuple[str, ...] = (
    ".env",
    ".env.*",
    "*.env",
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".pgpass",
    ".htpasswd",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_ecdsa_sk",
    "id_ed25519_sk",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    "credentials.json",
    "client_secret*.json",
    "service-account*.json",
    "kubeconfig",
    "*.kubeconfig",
)
"""Names (the last part of a path) of files that hold keys and nothing else worth landing."""

KEY_PATHS: tuple[str, ...] = (".kube/config", ".aws/credentials", ".docker/config.json")
"""The same, as the end of a path."""

HARMLESS_NAMES: tuple[str, ...] = (
    ".env.example",
    ".env.sample",
    ".env.template",
    ".env.dist",
    ".env.defaults",
    "example.env",
    "sample.env",
    "template.env",
)

_TOKEN_LINES: dict[str, tuple[bytes, ...]] = {
    ".npmrc": (b"_authtoken", b"_password", b"_auth"),
    ".yarnrc.yml": (b"npmauthtoken", b"npmauthident"),
    ".pypirc": (b"password",),
    ".dockercfg": (b'"auth"',),
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A place that seems to hold a secret. ``line`` counts from 1 in the added text; 0 means the file."""

    rule: str
    path: str
    line: int
    fingerprint: str
    """16 hex digits over rule and value; what an operator writes down to accept it."""


def scan(
    path: str,
    added_text: str | bytes,
    *,
    secrets: Iterable[Secret] = (),
    accepted: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Findings in the text added to ``path``, in order of lines, at most :data:`MAX_FINDINGS`.

    ``secrets`` are known values that must not land; ``accepted`` are fingerprints from the policy.
    """
    data = added_text.encode("utf-8", "surrogatepass") if isinstance(added_text, str) else added_text
    places: set[tuple[int, str, bytes]] = set()
    if rule := refused_name(path):
        places.add((0, rule, path.encode("utf-8", "surrogatepass")))
    for pattern in PATTERNS:
        if any(anchor in data for anchor in pattern.anchors):
            for match in pattern.regex.finditer(data):
                value = match["secret"] if "secret" in match.re.groupindex else match[0]
                places.add((match.start(), pattern.kind, value))
                if len(places) > 4 * MAX_FINDINGS:
                    break
    for match in PEM_BEGIN.finditer(data):
        places.add((match.start(), PEM_KIND, data[match.start() : match.end() + 128]))
    for secret in secrets:
        value = secret.value.encode("utf-8", "surrogatepass")
        at = data.find(value) if len(value) >= MIN_VALUE_BYTES else -1
        if at >= 0:
            places.add((at, "known-value", value))
    places |= set(_token_lines(path, data))
    findings = []
    for offset, rule, value in sorted(places):
        line = 0 if rule == "key-file" else data.count(b"\n", 0, offset) + 1
        finding = Finding(rule=rule, path=path, line=line, fingerprint=_fingerprint(rule, value))
        if finding.fingerprint not in accepted and finding not in findings:
            findings.append(finding)
    return tuple(findings[:MAX_FINDINGS])


def refused_name(path: str) -> str | None:
    """``"key-file"`` when a file of this name is not to be landed whatever it holds, else None."""
    lowered = path.lower().replace("\\", "/")
    name = lowered.rsplit("/", 1)[-1]
    if name in HARMLESS_NAMES or name.endswith((".pub", ".example", ".sample", ".template")):
        return None
    if any(fnmatchcase(name, pattern) for pattern in KEY_FILES):
        return "key-file"
    if any(lowered == ending or lowered.endswith("/" + ending) for ending in KEY_PATHS):
        return "key-file"
    return None


def _token_lines(path: str, data: bytes) -> Iterable[tuple[int, str, bytes]]:
    marks = _TOKEN_LINES.get(path.rsplit("/", 1)[-1].lower())
    if not marks:
        return
    offset = 0
    for line in data.split(b"\n"):
        key, equals, value = (
            line.replace(b":", b"=", 1).partition(b"=") if b"=" not in line else line.partition(b"=")
        )
        value = value.strip()
        if (
            equals
            and any(mark in key.lower() for mark in marks)
            and len(value) >= 8
            and not value.startswith(b"$")
        ):
            yield offset, "token-file", value
        offset += len(line) + 1


def _fingerprint(rule: str, value: bytes) -> str:
    digest = hashlib.sha256(b"pushpals/finding/1\0" + rule.encode() + b"\0" + value)
    return digest.hexdigest()[:16]
