"""Settings: read from the environment, a file, or files of secrets; mistakes end the start."""

from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from keptn_remedy import Action, ActionSettings, Context, Outcome, settings_file
from keptn_remedy.registry import discover, of
from keptn_remedy.settings import KeptnSettings, Settings, load
from keptn_remedy.support.variables import SettingsError, build, names_of, read
from keptn_remedy_actions.toggle_feature import ToggleFeature
from tests import settings_page
from tests.commands import FREE_PORTS, Said, remedy

UNLEASH = {"UNLEASH_URL": "http://unleash:4242", "UNLEASH_API_TOKEN": "*:*.secret"}


def mistakes(**environ: str) -> list[str]:
    """What is wrong with these variables."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return caught.value.mistakes


def test_without_variables_every_setting_has_its_default() -> None:
    assert load({}) == Settings()


def test_a_variable_sets_what_it_is_named_after() -> None:
    found = load(
        {
            "REMEDY_PORT": "9000",
            "REMEDY_DRY_RUN": "true",
            "REMEDY_DRAIN_SECONDS": "2.5",
            "REMEDY_LOG_LEVEL": "WARNING",
            "REMEDY_JOURNAL": "/data/journal.db",
        }
    )
    assert (found.port, found.dry_run, found.drain_seconds) == (9000, True, 2.5)
    assert (found.log_level, found.journal) == ("warning", Path("/data/journal.db"))


def test_actions_are_separated_by_commas() -> None:
    assert load({"REMEDY_ACTIONS": " toggle-feature, scale ,"}).actions == (
        "toggle-feature",
        "scale",
    )


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://localhost:8081"),
        ({"REMEDY_EVENT_URL": "http://proxy:1234/event"}, "http://proxy:1234"),
        ({"REMEDY_KEPTN_API": "https://keptn.example/api/"}, "https://keptn.example/api"),
    ],
)
def test_keptn_is_asked_at_the_sidecar_unless_told_otherwise(
    environ: dict[str, str], url: str
) -> None:
    assert load(environ).control_plane_url == url


def test_finished_is_held_back_for_a_second_but_not_in_local_mode() -> None:
    assert load({}).held_seconds == 1
    assert load({"REMEDY_FINISHED_AFTER_SECONDS": "0"}).held_seconds == 0
    local = {"REMEDY_TRANSPORT": "local", "REMEDY_FINISHED_AFTER_SECONDS": "3"}
    assert load(local).held_seconds == 0


def test_settings_of_others_are_no_concern_of_ours() -> None:
    assert load({"PATH": "/bin", "KEPTN_API_TOKEN": "x", "REMEDIES": "y"}) == Settings()


# Mistakes


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("REMEDY_PROT", "REMEDY_PORT"),
        ("REMEDY_JOURNAL_PATH", "REMEDY_JOURNAL"),
        ("REMEDY_LOGLEVEL", "REMEDY_LOG_LEVEL"),
        ("REMEDY_CONFIG_FILE_PATH", "REMEDY_CONFIG"),
    ],
)
def test_an_unknown_variable_is_a_mistake_that_names_the_nearest(
    unknown: str, nearest: str
) -> None:
    assert mistakes(**{unknown: "x"}) == [
        f"{unknown}: there is no such setting; did you mean {nearest}?"
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REMEDY_PORT", "many"),
        ("REMEDY_PORT", "65536"),
        ("REMEDY_PORT", "-1"),
        ("REMEDY_TRANSPORT", "pigeon"),
        ("REMEDY_EVENT_URL", "localhost"),
        ("REMEDY_EVENT_URL", "ftp://localhost"),
        ("REMEDY_SOURCE", "two words"),
        ("REMEDY_SOURCE", "x" * 201),
        ("REMEDY_DRY_RUN", "perhaps"),
        ("REMEDY_MAX_CONCURRENT", "0"),
        ("REMEDY_DRAIN_SECONDS", "0"),
        ("REMEDY_DRAIN_SECONDS", "nan"),
        ("REMEDY_DRAIN_SECONDS", "inf"),
        ("REMEDY_ERROR_LOG", "sometimes"),
        ("REMEDY_RETENTION_DAYS", "0"),
        ("REMEDY_RETENTION_DAYS", "nan"),
        ("REMEDY_LOG_LEVEL", "loud"),
        ("REMEDY_LOG_FORMAT", "xml"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_mistake_that_names_the_variable(
    variable: str, value: str
) -> None:
    (mistake,) = mistakes(**{variable: value})
    assert mistake.startswith(f"{variable}: ")
    assert not value or len(value) < 3 or value not in mistake.removeprefix(variable)


def test_every_mistake_is_told() -> None:
    found = mistakes(REMEDY_PORT="x", REMEDY_OPS_PORT="y", REMEDY_WRONG="z")
    assert [mistake.partition(":")[0] for mistake in found] == [
        "REMEDY_WRONG",
        "REMEDY_PORT",
        "REMEDY_OPS_PORT",
    ]


# Files


def test_a_value_may_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("\n the token \n")
    found = build(KeptnSettings, "", {"KEPTN_API_TOKEN_FILE": str(path)})
    assert found.keptn_api_token
    assert found.keptn_api_token.get_secret_value() == "the token"


def test_every_setting_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("9000")
    assert load({"REMEDY_PORT_FILE": str(tmp_path / "port")}).port == 9000


def test_a_value_wins_over_its_file(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("9000")
    environ = {"REMEDY_PORT_FILE": str(tmp_path / "port"), "REMEDY_PORT": "9001"}
    assert load(environ).port == 9001


@pytest.mark.parametrize("other", ["UNLEASH_API_TOKEN_FILE", "UNLEASH_TOKEN_FILE"])
def test_an_action_reads_its_secrets_from_files(tmp_path: Path, other: str) -> None:
    (tmp_path / "token").write_text("*:*.secret")
    found = build(
        ToggleFeature.Settings,
        "",
        {"UNLEASH_URL": "http://unleash:4242", other: str(tmp_path / "token")},
    )
    assert found.unleash_api_token.get_secret_value() == "*:*.secret"


def test_every_file_that_can_not_be_read_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    found = mistakes(
        REMEDY_HOST_FILE=str(tmp_path / "nowhere"),
        REMEDY_PORT_FILE=str(tmp_path),
        REMEDY_SOURCE_FILE=str(tmp_path / "bytes"),
    )
    assert found == [
        f"REMEDY_HOST_FILE: can't read {tmp_path / 'nowhere'}: No such file or directory",
        f"REMEDY_PORT_FILE: can't read {tmp_path}: Is a directory",
        f"REMEDY_SOURCE_FILE: can't read {tmp_path / 'bytes'}: it is not text",
    ]


def config(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return {"REMEDY_CONFIG": str(path)}


def test_a_yaml_file_sets_variables_of_all_kinds(tmp_path: Path) -> None:
    environ = config(
        tmp_path,
        "REMEDY_PORT: 9000\nREMEDY_DRY_RUN: on\nREMEDY_ACTIONS: [scale, restart]\n"
        "UNLEASH_URL: http://unleash:4242\n",
    )
    found = load(environ)
    assert (found.port, found.dry_run, found.actions) == (9000, True, ("scale", "restart"))
    assert read(environ)["UNLEASH_URL"] == "http://unleash:4242"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    environ = config(tmp_path, "REMEDY_PORT: 9000\nREMEDY_HOST: 0.0.0.0\n")
    found = load({**environ, "REMEDY_PORT": "9001"})
    assert (found.port, found.host) == (9001, "0.0.0.0")  # noqa: S104  nothing listens


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    assert load(config(tmp_path, text)) == Settings()


def test_an_unknown_variable_in_the_file_is_a_mistake(tmp_path: Path) -> None:
    (mistake,) = mistakes(**config(tmp_path, "REMEDY_HOST: x\nREMEDY_PROT: 9000"))
    where = f"REMEDY_CONFIG: {tmp_path / 'config.yaml'}, line 2"
    assert mistake == f"{where}: REMEDY_PROT: there is no such setting; did you mean REMEDY_PORT?"


def test_a_variable_that_is_in_the_file_twice_is_a_mistake(tmp_path: Path) -> None:
    text = "REMEDY_DRY_RUN: true\nREMEDY_PORT: 1\nREMEDY_DRY_RUN: false"
    (mistake,) = mistakes(**config(tmp_path, text))
    where = f"REMEDY_CONFIG: {tmp_path / 'config.yaml'}: line 3"
    assert mistake == f"{where}: REMEDY_DRY_RUN is in this map twice"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("KUBERNETES_MAX_REPLICA", "; did you mean KUBERNETES_MAX_REPLICAS?"),
        ("UNLEASH_URI", "; did you mean UNLEASH_URL?"),
        ("kubernetes_max_replicas", "; did you mean KUBERNETES_MAX_REPLICAS?"),
        ("KEPTN_API_TOKENS", "; did you mean KEPTN_API_TOKEN?"),
        ("WHATEVER", ""),
    ],
)
def test_a_variable_in_the_file_that_nobody_reads_is_a_mistake(
    tmp_path: Path, name: str, hint: str
) -> None:
    environ = config(tmp_path, f"UNLEASH_TOKEN_FILE: /nowhere\n{name}: 5\n")
    with pytest.raises(SettingsError) as caught:
        settings_file.check(environ, discover({}))
    where = f"REMEDY_CONFIG: {tmp_path / 'config.yaml'}, line 2"
    assert caught.value.mistakes == [f"{where}: {name}: nobody reads a variable of that name{hint}"]


def test_a_part_of_an_actions_setting_is_a_variable_too(tmp_path: Path) -> None:
    class Nested(Action):
        name = "nested"

        class Settings(ActionSettings):
            model_config = SettingsConfigDict(env_nested_delimiter="__")
            limits: dict[str, int] = Field(default_factory=dict[str, int])

        async def run(self, context: Context, value: object) -> Outcome:
            return Outcome.passed("done")

    actions = of({Nested: "here"}, {})
    settings_file.check(config(tmp_path, "NESTED_LIMITS__EU: 5"), actions)
    with pytest.raises(SettingsError):
        settings_file.check(config(tmp_path, "NESTED_LIMIT__EU: 5"), actions)


def test_an_action_without_proper_settings_is_off_and_harms_no_check(tmp_path: Path) -> None:
    class Odd(Action):
        name = "odd"
        Settings = dict

        async def run(self, context: Context, value: object) -> Outcome:
            return Outcome.passed("done")

    actions = of({Odd: "here"}, {})
    assert not actions.find("odd")
    settings_file.check(config(tmp_path, "REMEDY_PORT: 9000"), actions)


def test_variables_of_an_action_that_can_not_be_loaded_are_let_pass(tmp_path: Path) -> None:
    folder = tmp_path / "actions"
    folder.mkdir()
    (folder / "purge.py").write_text("1 / 0")
    actions = discover({}, folder=folder)
    settings_file.check(config(tmp_path, "PURGE_CACHE_ZONE: eu"), actions)
    with pytest.raises(SettingsError):
        settings_file.check(config(tmp_path, "KUBERNETES_MAX_REPLICA: 5"), actions)


@pytest.mark.parametrize(
    "text", ["- a list", "a text", "5", "a: [", "\0", "!!python/object:os.system x"]
)
def test_a_file_that_is_no_map_is_one_mistake(tmp_path: Path, text: str) -> None:
    (mistake,) = mistakes(**config(tmp_path, text))
    assert mistake.startswith("REMEDY_CONFIG: ")
    assert "\n" not in mistake


def test_a_file_that_is_not_there_is_one_mistake(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.yaml"
    (mistake,) = mistakes(REMEDY_CONFIG=str(path))
    assert str(path) in mistake


# The real command


def refused(said: Said) -> list[str]:
    """The mistakes of a start that failed."""
    assert said.code == 2
    assert said.out == ""
    assert all(line.startswith("remedy: ") for line in said.mistakes)
    return [line.removeprefix("remedy: ") for line in said.mistakes]


def test_mistakes_end_the_start_with_code_2_a_line_for_each_and_no_traceback(
    tmp_path: Path,
) -> None:
    said = remedy(tmp_path, "serve", REMEDY_PORT="x", REMEDY_LOG_FORMAT="y", REMEDY_PROT="z")
    assert [line.partition(":")[0] for line in refused(said)] == [
        "REMEDY_PROT",
        "REMEDY_PORT",
        "REMEDY_LOG_FORMAT",
    ]
    assert not (tmp_path / "var").exists()


def test_a_secret_file_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    (mistake,) = refused(remedy(tmp_path, "serve", KEPTN_API_TOKEN_FILE="/nowhere", **FREE_PORTS))
    assert mistake == "KEPTN_API_TOKEN_FILE: can't read /nowhere: No such file or directory"


def test_a_file_for_nats_that_holds_something_else_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "seed").write_text("no seed")
    given = {"REMEDY_TRANSPORT": "nats", "REMEDY_NATS_NKEY_FILE": "seed", **FREE_PORTS}
    (mistake,) = refused(remedy(tmp_path, "serve", **given))
    assert mistake == "REMEDY_NATS_NKEY_FILE: seed doesn't hold a user's seed (SU…)"


def test_a_variable_in_the_file_that_nobody_reads_ends_every_command(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("KUBERNETES_MAX_REPLICA: 5\n")
    for command in (["serve"], ["actions"]):
        (mistake,) = refused(remedy(tmp_path, *command, REMEDY_CONFIG="config.yaml", **FREE_PORTS))
        assert "line 1" in mistake
        assert mistake.endswith("did you mean KUBERNETES_MAX_REPLICAS?")


def test_a_value_with_line_ends_is_still_one_line_a_mistake(tmp_path: Path) -> None:
    said = remedy(tmp_path, "serve", **{"REMEDY_A\nB": "x", "REMEDY_PORT": "1\n2"})
    assert len(refused(said)) == 2


def test_the_value_of_a_secret_is_never_in_a_mistake(tmp_path: Path) -> None:
    environ = {**UNLEASH, "UNLEASH_API_TOKEN": "hunter2\nhunter3", "UNLEASH_TIMEOUT_SECONDS": "x"}
    said = remedy(tmp_path, "actions", "--json", **environ)
    assert "hunter" not in said.out + said.err


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ada:hunter2@db/remedy",
        "postgres:/ada:hunter2@db/remedy",
        "POSTGRES+ASYNCPG://ada:hunter2@db",
        "//ada:hunter2@db/remedy",
        "ada:hunter2@db/remedy",
        "host=db user=ada password=hunter2",
        "sqlite:///var/journal.db?key=hunter2",
        "file:journal.db?key=hunter2",
    ],
)
def test_an_address_is_no_path_and_is_not_repeated(address: str) -> None:
    for name in ("POLICY", "PAUSE_FILE", "ACTIONS_DIR", "OPERATOR_TOKEN_FILE"):
        (mistake,) = mistakes(**{f"REMEDY_{name}": address})
        assert mistake == f"REMEDY_{name}: must be a path on the local disk, not an address"
    if not address.startswith("postgresql://"):
        (mistake,) = mistakes(REMEDY_JOURNAL=address)
        assert mistake.startswith("REMEDY_JOURNAL: must be a path on the local disk, or a URL")


@pytest.mark.parametrize("path", ["/data/journal.db", "j:1.db", "a@b/journal.db", "./x=y", "~/j"])
def test_a_path_may_hold_what_addresses_hold(path: str) -> None:
    assert load({"REMEDY_JOURNAL": path}).journal == Path(path)


def test_a_database_that_is_not_there_ends_the_start_without_its_password(tmp_path: Path) -> None:
    address = "postgresql://ada:hunter2@127.0.0.1:1/remedy?connect_timeout=2"
    for command in (("serve",), ("journal", "list"), ("pause", "--reason", "x")):
        said = remedy(tmp_path, *command, REMEDY_JOURNAL=address)
        assert said.code == 1
        assert "can't use the journal postgresql://127.0.0.1:1/remedy: " in said.err
        assert "hunter2" not in said.out + said.err
    assert list(tmp_path.iterdir()) == []


# The page


def test_the_page_tells_every_setting_and_is_up_to_date() -> None:
    assert settings_page.PAGE.read_text("utf-8") == settings_page.page(), (
        "write it anew: python -m tests.settings_page"
    )


@pytest.mark.parametrize(
    ("cls", "prefix"), [(Settings, "REMEDY_"), (KeptnSettings, ""), (ToggleFeature.Settings, "")]
)
def test_every_setting_has_a_reason_on_the_page(cls: type[BaseSettings], prefix: str) -> None:
    page = settings_page.page()
    assert all(f"`{name}`" in page for name in names_of(cls, prefix))
    assert all(field.description for field in cls.model_fields.values())


def test_an_empty_variable_counts_as_not_set() -> None:
    empty = {
        "REMEDY_PORT": "",
        "REMEDY_ACTIONS_DIR": "",
        "REMEDY_JOURNAL": "",
        "REMEDY_KEPTN_API": "",
    }
    assert load(empty) == load({})


@pytest.mark.parametrize("name", ["remedy_port", "REMEDY_CONFIG_FILE", "Remedy_Journal"])
def test_a_variable_in_other_letters_is_refused_rather_than_ignored(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: there is no such setting"):
        load({name: "1"})


@pytest.mark.parametrize(
    ("others", "log"),
    [
        ({}, "auto"),
        ({"REMEDY_EVENT_URL": "http://keptn/api/v1/event"}, "always"),
        ({"REMEDY_TRANSPORT": "local"}, "always"),
        ({"REMEDY_ERROR_LOG": "never"}, "never"),
    ],
)
def test_errors_are_logged_once_where_a_distributor_logs_them(
    others: dict[str, str], log: str
) -> None:
    assert load(others).logs_errors == log


@pytest.mark.parametrize(("written", "seconds"), [("10m", 600), ("90", 90), ("2h", 7200)])
def test_the_age_of_what_is_stale_is_written_as_in_a_policy(written: str, seconds: float) -> None:
    assert load({"REMEDY_STALE_AFTER": written}).stale_after == seconds


@pytest.mark.parametrize(("written", "seconds"), [("10s", 10), ("2", 2), ("5m", 300)])
def test_the_lease_is_written_alike(written: str, seconds: float) -> None:
    assert load({"REMEDY_LEASE": written}).lease == seconds


@pytest.mark.parametrize("written", ["1s", "301", "soon"])
def test_a_lease_that_is_too_short_or_too_long_is_refused(written: str) -> None:
    with pytest.raises(SettingsError, match="REMEDY_LEASE"):
        load({"REMEDY_LEASE": written})
