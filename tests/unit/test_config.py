from pathlib import Path

import pytest

from pushpals import config
from pushpals.config import AgentSetting, ConfigError, Settings, data_dir, load


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "parcels"
    path.mkdir()
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    (path / ".config" / "pushpals").mkdir(parents=True)
    return path


def env_of(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), **more}


def write_person(home: Path, text: str) -> Path:
    path = home / ".config" / "pushpals" / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_without_any_source_everything_is_a_default(repository: Path, home: Path) -> None:
    loaded = load(repository=repository, env=env_of(home))
    assert loaded.settings == Settings()
    assert set(loaded.origin.values()) == {"default"}


def test_flags_beat_variables_beat_the_persons_file_beats_the_repository(
    repository: Path, home: Path
) -> None:
    (repository / "pushpals.toml").write_text(
        '[session]\nid = "from-repository"\n[landing]\nbranch = "trunk"\n'
    )
    person = write_person(home, '[session]\nid = "from-person"\n[worker]\ncount = 3\n[hub]\nport = 4001\n')
    env = env_of(home, PUSHPALS_WORKERS="4", PUSHPALS_PORT="4002")
    loaded = load(repository=repository, env=env, flags={"port": 4003, "workers": None})
    assert loaded.settings == Settings(session_id="from-person", branch="trunk", workers=4, port=4003)
    assert {name: where for name, where in loaded.origin.items() if where != "default"} == {
        "session_id": str(person),
        "branch": str(repository / "pushpals.toml"),
        "workers": "env PUSHPALS_WORKERS",
        "port": "flag --port",
    }


VARIABLES = [
    ("PUSHPALS_SESSION_ID", "phone", "session_id", "phone"),
    ("PUSHPALS_ALLOW_UNSANDBOXED", "1", "allow_unsandboxed", True),
    ("PUSHPALS_ALLOW_UNSANDBOXED", "false", "allow_unsandboxed", False),
    ("PUSHPALS_WORKER_PATH", "/opt/a '/opt/b c'", "worker_path", ("/opt/a", "/opt/b c")),
    (
        "PUSHPALS_AGENT",
        "my-agent -p 'x y'",
        "agents",
        {"agent": AgentSetting(command=("my-agent", "-p", "x y"))},
    ),
    ("PUSHPALS_WORKERS", "", "workers", 2),
]


@pytest.mark.parametrize(("name", "text", "field", "value"), VARIABLES)
def test_a_variable_is_read_as_the_type_of_its_setting(
    home: Path, name: str, text: str, field: str, value: object
) -> None:
    assert getattr(load(repository=None, env=env_of(home, **{name: text})).settings, field) == value


PRIVILEGED = [field for field in config.fields() if field.scope == "operator"]


@pytest.mark.parametrize("field", PRIVILEGED, ids=lambda field: field.key)
def test_a_repository_cannot_set_what_is_the_operators(
    repository: Path, home: Path, field: config.Field
) -> None:
    head, _, last = field.key.rpartition(".")
    table = f"[{head}]\n" if head else ""
    (repository / "pushpals.toml").write_text(f"{table}{last} = 1\n")
    with pytest.raises(ConfigError, match="a repository may not set this") as caught:
        load(repository=repository, env=env_of(home))
    assert caught.value.key == field.key


WRONG = [
    ("[sessoin]\nid = 'x'\n", "sessoin.id", "Did you mean session.id?"),
    ("[session]\nid = 3\n", "session.id", "a string is expected, not 3"),
    ("[session]\nid = 'a b'\n", "session.id", "1 to 64 characters"),
    ("[session\n", "(file)", "not valid TOML"),
]


@pytest.mark.parametrize(("text", "key", "says"), WRONG)
def test_an_error_names_the_file_the_key_and_what_is_allowed(
    repository: Path, home: Path, text: str, key: str, says: str
) -> None:
    path = repository / "pushpals.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"pushpals\.toml") as caught:
        load(repository=repository, env=env_of(home))
    assert (caught.value.where, caught.value.key) == (str(path), key)
    assert says in str(caught.value)


def test_a_number_outside_its_bounds_says_which_they_are(home: Path) -> None:
    with pytest.raises(ConfigError, match="a whole number from 0 to 64 is expected, not '65'"):
        load(repository=None, env=env_of(home, PUSHPALS_WORKERS="65"))


def test_a_secret_of_the_wrong_type_is_not_repeated_in_the_error(home: Path) -> None:
    write_person(home, "[hub]\ntoken = 123456789\n")
    with pytest.raises(ConfigError) as caught:
        load(repository=None, env=env_of(home))
    assert "123456789" not in str(caught.value)


def test_the_persons_file_is_refused_when_others_may_write_to_it(home: Path) -> None:
    write_person(home, "").chmod(0o666)
    with pytest.raises(ConfigError, match="chmod 600"):
        load(repository=None, env=env_of(home))


def test_the_persons_file_is_refused_inside_the_repository(repository: Path) -> None:
    inside = repository / ".config"
    (inside / "pushpals").mkdir(parents=True)
    (inside / "pushpals" / "config.toml").write_text("[worker]\nallow_unsandboxed = true\n")
    with pytest.raises(ConfigError, match="must not stand inside the repository"):
        load(repository=repository, env={"XDG_CONFIG_HOME": str(inside)})


def test_tables_that_other_packages_read_are_left_to_them(repository: Path, home: Path) -> None:
    (repository / "pushpals.toml").write_text('[[checks]]\nname = "t"\ncommand = "pytest"\n[policy]\nx = 1\n')
    assert load(repository=repository, env=env_of(home)).settings == Settings()


def test_state_lies_in_a_folder_named_after_the_repository_and_its_path(repository: Path, home: Path) -> None:
    other = repository.parent / "elsewhere" / "parcels"
    other.mkdir(parents=True)
    one, two = (data_dir(Settings(), path, env_of(home)) for path in (repository, other))
    assert one.parent == two.parent == home / ".local" / "state" / "pushpals"
    assert one.name != two.name
    assert one.name.startswith("parcels-")
    assert len(one.name) == len("parcels-") + 8


def test_state_goes_where_xdg_or_the_operator_says(repository: Path, home: Path, tmp_path: Path) -> None:
    xdg = data_dir(Settings(), repository, env_of(home, XDG_STATE_HOME=str(tmp_path / "state")))
    assert xdg.parent == tmp_path / "state" / "pushpals"
    assert data_dir(Settings(data_dir=str(tmp_path / "mine")), repository, env_of(home)) == tmp_path / "mine"


def test_state_inside_the_working_tree_is_refused(repository: Path, home: Path) -> None:
    link = repository.parent / "link"
    link.symlink_to(repository)
    for inside in (repository, repository / "state", link / "state"):
        with pytest.raises(ConfigError, match="inside the working tree"):
            data_dir(Settings(data_dir=str(inside)), repository, env_of(home))
