"""What may not land."""

from __future__ import annotations

import pytest

from pushpals.policy.patterns import PATTERNS
from pushpals.policy.redact import Secret
from pushpals.policy.secrets_scan import MAX_FINDINGS, Finding, refused_name, scan

AWS = PATTERNS[0].example.decode()


def test_g08_a_finding_names_rule_path_and_line_and_never_the_value() -> None:
    (finding,) = scan("src/app.py", f"import os\n\nKEY = '{AWS}'\n")

    assert finding == Finding(rule="aws-key", path="src/app.py", line=3, fingerprint=finding.fingerprint)
    assert AWS not in repr(finding)


def test_every_kind_is_found_in_its_line() -> None:
    text = "\n".join(pattern.example.decode() for pattern in PATTERNS)

    lines = {finding.line for finding in scan("x.txt", text)}

    assert lines == set(range(1, len(PATTERNS) + 1))


def test_a_private_key_is_found_whatever_the_file_is_called() -> None:
    (finding,) = scan("notes.md", "x\n-----BEGIN OPENSSH PRIVATE " + "KEY-----\nabc\n")

    assert (finding.rule, finding.line) == ("private-key", 2)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "deploy/.env.production",
        ".ENV",
        "home/.ssh/id_rsa",
        "id_ed25519",
        "cert.p12",
        "credentials.json",
        "kubeconfig",
        "x/.kube/config",
        ".aws/credentials",
        ".netrc",
        "a/.git-credentials",
    ],
)
def test_key_files_are_refused_by_name(path: str) -> None:
    (finding,) = scan(path, "")

    assert (finding.rule, finding.line) == ("key-file", 0)


@pytest.mark.parametrize(
    "path", [".env.example", ".env.sample", "id_rsa.pub", "environment.py", "config", "docs/credentials.md"]
)
def test_files_that_only_sound_like_key_files_pass(path: str) -> None:
    assert refused_name(path) is None
    assert scan(path, "nothing here\n") == ()


def test_package_configuration_is_refused_only_with_a_token_in_it() -> None:
    assert scan(".npmrc", "registry=https://example.org/\n//example.org/:_authToken=${TOKEN}\n") == ()
    assert [finding.rule for finding in scan(".npmrc", "//example.org/:_authToken=abcdefgh12345678\n")] == [
        "token-file"
    ]
    assert [finding.rule for finding in scan("x/.pypirc", "[pypi]\npassword = abcdefgh12345678\n")] == [
        "token-file"
    ]


def test_an_accepted_fingerprint_silences_exactly_that_value() -> None:
    (finding,) = scan("a.py", AWS)
    other = AWS[:-1] + "X"

    assert scan("b.py", f"\n{AWS}", accepted={finding.fingerprint}) == ()
    assert len(scan("b.py", f"{AWS}\n{other}", accepted={finding.fingerprint})) == 1


def test_a_known_value_is_found() -> None:
    (finding,) = scan("a.txt", "x\nhorse-battery\n", secrets=[Secret(name="K", value="horse-battery")])

    assert (finding.rule, finding.line) == ("known-value", 2)


def test_checksums_pass_and_findings_are_bounded() -> None:
    assert scan("lock", "sha256:" + "0af3" * 16 + "\n") == ()
    assert len(scan("a", "\n".join(f"AKIA{number:016d}" for number in range(1000)))) == MAX_FINDINGS
