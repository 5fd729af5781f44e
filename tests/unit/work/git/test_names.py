import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.work.git.names import (
    AgentBranch,
    InvalidName,
    agent_branch,
    as_ref,
    as_sha,
    branch_ref,
    decode_path,
    encode_path,
    landed_ref,
    parse_agent_branch,
    show_path,
    split_nul,
)


def test_an_agent_branch_is_read_by_short_and_by_full_name() -> None:
    branch = AgentBranch(worker="worker-1", job="job_7")
    assert agent_branch("worker-1", "job_7") == branch
    assert parse_agent_branch("agent/worker-1/job_7") == branch
    assert parse_agent_branch("refs/heads/agent/worker-1/job_7") == branch
    assert (branch.short, branch.ref) == ("agent/worker-1/job_7", "refs/heads/agent/worker-1/job_7")


@pytest.mark.parametrize(
    "name",
    [
        "main",
        "refs/heads/main",
        "--upload-pack=x",
        "-x",
        "agent/w",
        "agent/w/",
        "agent//j",
        "agent/w/j/k",
        "agent/-w/j",
        "agent/w/--output=x",
        "agent/w/a..b",
        "agent/w/x.lock",
        "agent/w/a$(id)",
        "agent/w/é",
        "agent/w/j\n",
        "agent/w/" + "j" * 65,
        "Agent/w/j",
        "refs/tags/agent/w/j",
        "refs/heads/refs/heads/agent/w/j",
        "",
    ],
)
def test_anything_but_a_plain_agent_branch_is_none(name: str) -> None:
    assert parse_agent_branch(name) is None


@pytest.mark.parametrize("part", ["", "-x", "a/b", "a b", "a\n", "..", "x.lock", "é", "a" * 65])
def test_a_part_that_is_no_plain_word_makes_no_branch_and_no_record(part: str) -> None:
    with pytest.raises(InvalidName):
        agent_branch(part, "j")
    with pytest.raises(InvalidName):
        agent_branch("w", part)
    with pytest.raises(InvalidName):
        landed_ref(part)


@pytest.mark.parametrize(
    "ref", ["refs/heads/main", "refs/heads/release/1.2", "refs/pushpals/landed/j-1", "refs/heads/a_b"]
)
def test_a_full_ref_name_passes(ref: str) -> None:
    assert as_ref(ref) == ref


@pytest.mark.parametrize(
    "ref",
    [
        "main",
        "HEAD",
        "refs/heads/-oops",
        "refs/heads/--output=x",
        "refs/heads/a..b",
        "refs/heads/x.lock",
        "refs/heads/x.",
        "refs/heads//x",
        "refs/heads/x/",
        "refs/heads/a b",
        "refs/heads/a:b",
        "refs/heads/a*",
        "refs/heads/a\n",
        "refs/heads/é",
        "refs/heads/@{-1}",
        "refs/heads/a^{}",
        "refs/heads/" + "x" * 300,
    ],
)
def test_a_ref_name_that_could_be_read_otherwise_is_refused(ref: str) -> None:
    with pytest.raises(InvalidName):
        as_ref(ref)


def test_a_branch_name_becomes_a_full_one_and_a_full_one_stays() -> None:
    assert branch_ref("main") == branch_ref("refs/heads/main") == "refs/heads/main"


@pytest.mark.parametrize(
    "text", ["", "main", "abc1234", "A" * 40, "0" * 39, "0" * 41, "0" * 63, "0" * 40 + "\n", "0" * 40 + "^"]
)
def test_only_a_whole_lower_case_id_is_an_id(text: str) -> None:
    with pytest.raises(InvalidName):
        as_sha(text)


def test_ids_of_both_hash_lengths_pass() -> None:
    assert (as_sha("a1" * 20), as_sha("b2" * 32)) == ("a1" * 20, "b2" * 32)


@given(st.binary().filter(lambda raw: b"\0" not in raw))
def test_every_path_survives_the_round_trip(raw: bytes) -> None:
    assert encode_path(decode_path(raw)) == raw


@given(st.lists(st.binary(min_size=1).filter(lambda raw: b"\0" not in raw)))
def test_fields_of_nul_separated_output_come_back(fields: list[bytes]) -> None:
    assert split_nul(b"".join(field + b"\0" for field in fields)) == fields


@given(st.binary().filter(lambda raw: b"\0" not in raw))
def test_a_shown_path_is_one_printable_line(raw: bytes) -> None:
    assert show_path(decode_path(raw)).isprintable()


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain name.py", "plain name.py"),
        ("gr\u00fc\u00df.py".encode(), "gr\u00fc\u00df.py"),
        (b"a\nb\t\x1b", r"a\nb\t\x1b"),
        (b"bad\xff", r"bad\xff"),
        (b"back\\slash", r"back\\slash"),
        ("abc\u202etxt.exe".encode(), r"abc\u202etxt.exe"),
    ],
)
def test_what_could_deceive_is_escaped(raw: bytes, shown: str) -> None:
    assert show_path(decode_path(raw)) == shown
