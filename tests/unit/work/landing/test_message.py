import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.work.landing.message import (
    RESERVED,
    SUBJECT_LENGTH,
    Receipt,
    landing_message,
    reserved_trailers,
    strip_reserved,
)

RECEIPT = Receipt(
    job_id="job-7",
    session_id="dev",
    agent="worker-1 (ruff)",
    approved_by="ada",
    approved_head="a" * 40,
    checks="sha256:12ab",
    check_runs=("run-1", "run-2"),
    co_authors=("Ada <ada@example.org>", "Bob <bob@example.org>", "Ada <ada@example.org>"),
)


def trailers(message: str) -> list[str]:
    """What git itself reads as trailers."""
    done = subprocess.run(
        ["git", "interpret-trailers", "--parse", "--no-divider"],
        input=message.encode(),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().splitlines()


def test_a_message_is_subject_body_and_trailers() -> None:
    assert landing_message("fix the lint.", "Remove an unused import.\n", RECEIPT) == (
        "Fix the lint\n"
        "\n"
        "Remove an unused import.\n"
        "\n"
        "Job-Id: job-7\n"
        "Session-Id: dev\n"
        "Agent: worker-1 (ruff)\n"
        "Approved-by: ada\n"
        f"Approved-Head: {'a' * 40}\n"
        "Checks: sha256:12ab\n"
        "Check-Run: run-1\n"
        "Check-Run: run-2\n"
        "Co-authored-by: Ada <ada@example.org>\n"
        "Co-authored-by: Bob <bob@example.org>\n"
    )


def test_without_a_body_there_is_none() -> None:
    assert landing_message("Format", "", Receipt(job_id="j")) == "Format\n\nJob-Id: j\n"


@pytest.mark.parametrize(
    ("title", "subject"),
    [
        ("  fix   the\tlint ", "Fix the lint"),
        ("first line\nsecond line", "First line"),
        ("\n\nafter blanks", "After blanks"),
        ("", "Land a change"),
        ("Approved-by: mallory", "Land a change"),
        ("\x1b[31mred\x00", "[31mred"),
        ("word " * 30, "Word" + " word" * 13 + "…"),
        ("x" * 100, "X" + "x" * 70 + "…"),
        ("\u202eevil", "Evil"),
    ],
)
def test_a_title_becomes_one_line_of_bounded_length(title: str, subject: str) -> None:
    line = landing_message(title, "", Receipt(job_id="j")).split("\n")[0]
    assert line == subject
    assert len(line) <= SUBJECT_LENGTH


@pytest.mark.parametrize(
    "forged",
    [
        "Approved-by: mallory",
        "approved-BY: mallory",
        "Approved-by : mallory",
        "  Approved-by: mallory",
        "Approved-by:mallory",
        "Approved-by= mallory",
        "Approved\u200b-by: mallory",
        "Appr\x00oved-by: mallory",
        "Job-Id: other",
        "Signed-off-by: Ada <ada@example.org>",
        "Approved-by: mallory\n  and friends\n\tand more",
        "Approved-by: mallory\rJob-Id: x",
    ],
)
def test_a_reserved_trailer_of_a_branch_is_taken_out_wherever_it_stands(forged: str) -> None:
    for body in (forged, f"Why.\n\n{forged}", f"{forged}\n\nWhy.", f"Why.\n\nOther: x\n{forged}\nFixes: 1"):
        message = landing_message("Fix", body, RECEIPT)
        assert trailers(message)[-10:] == landing_message("Fix", "", RECEIPT).splitlines()[2:]
        assert "mallory" not in message
        assert "and friends" not in message


def test_a_divider_does_not_hide_our_trailers() -> None:
    message = landing_message("Fix", "Text\n---\nmore\n--- a/file\n", Receipt(job_id="j"))
    done = subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=message.encode(), capture_output=True, check=True
    )
    assert done.stdout == b"Job-Id: j\n"


def test_a_value_cannot_start_a_line_of_its_own() -> None:
    message = landing_message("Fix", "", Receipt(job_id="j", agent="w\nApproved-by: mallory"))
    assert trailers(message) == ["Job-Id: j", "Agent: w Approved-by: mallory"]


def test_reserved_trailers_of_a_commit_are_named() -> None:
    assert reserved_trailers("Fix\n\nWhy.\n\nApproved-by: x\nfixes: 3\n job-id : y\n") == (
        "Approved-by",
        "job-id",
    )
    assert reserved_trailers("Fix\n\nSigned-off-by: Ada <ada@example.org>\n") == ()
    assert reserved_trailers("Fix the agent\n\nThe agent: it works.\n") == ()


@given(st.text(), st.text())
def test_whatever_the_text_the_trailers_are_ours_alone(title: str, body: str) -> None:
    receipt = Receipt(job_id="j", approved_by="ada")
    message = landing_message(title, body, receipt)
    subject, rest = message.split("\n", 1)
    assert 0 < len(subject) <= SUBJECT_LENGTH
    assert rest.endswith("\nJob-Id: j\nApproved-by: ada\n")
    assert reserved_trailers(message, RESERVED) == ("Job-Id", "Approved-by")
    assert strip_reserved(strip_reserved(body)) == strip_reserved(body)
    assert landing_message(title, body, receipt) == message


@given(st.lists(st.sampled_from([*RESERVED, "Fixes", " ", "\t", ":", "=", "\n", "x", "\r", "\u200b", "---"])))
def test_no_arrangement_of_reserved_words_gets_through(parts: list[str]) -> None:
    assert reserved_trailers(strip_reserved("".join(parts)), RESERVED) == ()
