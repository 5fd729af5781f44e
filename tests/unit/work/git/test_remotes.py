import pytest

from pushpals.work.git.names import InvalidName
from pushpals.work.git.remotes import Password, Remote, parse_remote


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("/srv/repo.git", Remote(url="/srv/repo.git", transport="file")),
        ("file:///srv/my%20repo.git", Remote(url="/srv/my repo.git", transport="file")),
        ("git@example.org:team/repo.git", Remote(url="git@example.org:team/repo.git", transport="ssh")),
        ("ssh://git@example.org:22/repo", Remote(url="ssh://git@example.org:22/repo", transport="ssh")),
        ("https://example.org/r.git", Remote(url="https://example.org/r.git", transport="https")),
        (
            "https://bot:s%40cret@example.org:8443/r.git",
            Remote(
                url="https://example.org:8443/r.git",
                transport="https",
                credentials=Password(username="bot", password="s@cret"),
            ),
        ),
    ],
)
def test_an_address_is_read_and_its_password_taken_out(url: str, remote: Remote) -> None:
    assert parse_remote(url) == remote


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relative/path",
        "./repo",
        "-oProxyCommand=x",
        "--upload-pack=x",
        "ext::sh -c true",
        "fd::3",
        "http://example.org/r.git",
        "git://example.org/r.git",
        "ftp://example.org/r",
        "ssh://-oProxyCommand=x/r",
        "ssh://git:pw@example.org/r",
        "-host:repo",
        "https:///r",
        "file://other-host/srv/r",
        "https://example.org/\nr",
        "/srv/\0repo",
    ],
)
def test_an_address_that_is_not_plainly_one_of_ours_is_refused(url: str) -> None:
    with pytest.raises(InvalidName):
        parse_remote(url)


def test_plain_http_needs_an_operator_who_asks_for_it() -> None:
    assert parse_remote("http://example.org/r", allow_http=True).transport == "http"


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(parse_remote("https://bot:s3cret@example.org/r"))
