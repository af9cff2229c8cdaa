"""Which actions exist, which are off and why, and what is told about those that make no sense."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from keptn_remedy import Action, ActionSettings, Context, Outcome
from keptn_remedy.registry import ENTRY_POINTS, Registry, RegistryError, discover, of

BUILT_IN = (
    "argocd",
    "drain-node",
    "evict",
    "pause-rollout",
    "resize",
    "restart",
    "rollback",
    "run-job",
    "scale",
    "toggle-feature",
    "uncordon",
    "wait",
    "webhook",
)
SECRET = "correct-horse-battery"

Package = Callable[..., Path]

PURGE = """
from keptn_remedy import Action, ActionSettings, Outcome

class Purge(Action):
    name = "purge-cache"
    aliases = ("clear-cache",)

    class Settings(ActionSettings):
        zone: str

    async def run(self, context, value):
        return Outcome.passed("purged")
"""
PLAIN = """
from keptn_remedy import Action, Outcome

class {cls}(Action):
    name = "{name}"

    async def run(self, context, value):
        return Outcome.passed("done")
"""


class Tweak(Action):
    """Has a setting of each sort."""

    name = "tweak-it"
    aliases: ClassVar[tuple[str, ...]] = ("Fiddle_With",)

    class Settings(ActionSettings):
        knob: int
        token: SecretStr = SecretStr("")

    async def run(self, context: Context, value: Any) -> Outcome:
        return Outcome.passed("tweaked")


class Prefixed(Tweak):
    """Reads its settings under a prefix that its name does not tell."""

    name = "prefixed"
    aliases = ()
    env_prefix: ClassVar[str | None] = "TWEAKER_"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Puts a distribution with entry points of ours on the path, as an installer would."""

    def install(name: str, source: str, **points: str) -> Path:
        site = tmp_path / "site"
        about = site / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{key} = {value}" for key, value in points.items()]
        (about / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines]))
        (site / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)  # an earlier test's
        monkeypatch.syspath_prepend(str(site))
        return site

    return install


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "actions"
    path.mkdir()
    return path


def registry(**variables: str) -> Registry:
    return of({Tweak: "here", Prefixed: "here"}, variables)


def mistakes(
    folder: Path | None = None,
    switched_on: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
) -> list[str]:
    with pytest.raises(RegistryError) as error:
        discover({}, folder=folder, switched_on=switched_on, aliases=aliases, is_strict=True)
    return error.value.mistakes


def setting(found: Registry, name: str) -> Any:
    entry = found.find(name)
    assert entry
    assert entry.action
    return entry.action.settings


# Where actions come from


def test_the_built_in_actions_are_found_by_entry_point() -> None:
    entry = discover({}).entry("toggle-feature")
    assert entry
    assert entry.origin == "keptn-remedy (keptn_remedy_actions.toggle_feature:ToggleFeature)"


def test_the_actions_of_another_package_are_found_by_entry_point(package: Package) -> None:
    package("cdn_actions", PURGE, purge="cdn_actions:Purge")
    entry = discover({"PURGE_CACHE_ZONE": "eu"}).find("purge-cache")
    assert entry
    assert entry.origin == "cdn_actions (cdn_actions:Purge)"


def test_the_actions_of_a_folder_are_found(folder: Path) -> None:
    (folder / "purge.py").write_text(PURGE)
    entry = discover({"PURGE_CACHE_ZONE": "eu"}, folder=folder).find("purge-cache")
    assert entry
    assert entry.origin == str(folder / "purge.py")


def test_only_what_a_file_of_the_folder_defines_is_its_action(folder: Path) -> None:
    (folder / "a.py").write_text(PLAIN.format(cls="One", name="one"))
    (folder / "b.py").write_text(
        "from keptn_remedy import Action, PlannedAction\n"
        "from keptn_remedy_actions.toggle_feature import ToggleFeature\n"
    )
    names = [entry.name for entry in discover({}, folder=folder).entries]
    assert names == sorted(("one", *BUILT_IN))


def test_a_class_that_is_found_twice_is_one_action(package: Package) -> None:
    package("cdn_actions", PURGE, purge="cdn_actions:Purge", again="cdn_actions:Purge")
    names = [entry.name for entry in discover({}).entries]
    assert names == sorted(("purge-cache", *BUILT_IN))


# Names


@pytest.mark.parametrize("name", ["tweak-it", "TweakIt", "TWEAK_IT", " tweakit ", "fiddle-with"])
def test_an_action_is_found_without_regard_to_case_and_dashes(name: str) -> None:
    entry = registry(TWEAK_IT_KNOB="1").find(name)
    assert entry
    assert entry.cls is Tweak


@pytest.mark.parametrize("name", ["tweak", "tweak it", "", "-"])
def test_other_names_are_not_ours(name: str) -> None:
    assert registry(TWEAK_IT_KNOB="1").find(name) is None


def test_two_classes_that_claim_one_name_are_both_named(folder: Path) -> None:
    (folder / "a.py").write_text(PLAIN.format(cls="One", name="same-name"))
    (folder / "b.py").write_text(PLAIN.format(cls="Other", name="Same_Name"))
    (told,) = mistakes(folder)
    assert f"{folder / 'a.py'}: One and {folder / 'b.py'}: Other" in told


def test_an_alias_can_claim_no_name_of_another(folder: Path) -> None:
    (folder / "purge.py").write_text(PURGE.replace("clear-cache", "feature_toggle"))
    (told,) = mistakes(folder)
    assert "ToggleFeature" in told
    assert "'featuretoggle'" in told


def test_two_classes_that_claim_one_task_are_both_named(folder: Path) -> None:
    for name, cls in (("a.py", "One"), ("b.py", "Other")):
        text = PLAIN.format(cls=cls, name=cls.lower())
        (folder / name).write_text(text.replace("    name =", '    task = "test"\n    name ='))
    (told,) = mistakes(folder)
    assert "One and" in told
    assert told.endswith("both claim the task 'test'")


def test_the_class_of_a_task_goes_by_the_name_of_the_task(folder: Path) -> None:
    text = PLAIN.format(cls="One", name="get-sli").replace("    name =", "    task =")
    (folder / "a.py").write_text(text)
    found = discover({}, folder=folder)
    assert found.find("get_sli")
    assert "sh.keptn.event.get-sli.triggered" in found.triggers


@pytest.mark.parametrize("name", ["", "a.b", "*", "get sli", "x" * 101])
def test_a_task_is_a_part_of_the_type_of_an_event(folder: Path, name: str) -> None:
    text = PLAIN.format(cls="One", name="one").replace(
        "    name =", f"    task = {name!r}\n    name ="
    )
    (folder / "a.py").write_text(text)
    (broken,) = discover({}, folder=folder).broken
    assert "One.task must be a task's name, such as get-sli" in broken.why


# Settings


def test_an_action_without_its_settings_is_off_and_not_ours() -> None:
    found = registry()
    entry = found.entry("tweak-it")
    assert entry
    assert (entry.action, entry.off) == (None, "TWEAK_IT_KNOB: must be set")
    assert found.find("tweak-it") is None


def test_why_an_action_is_off_names_the_variable_and_not_its_value() -> None:
    entry = registry(TWEAK_IT_KNOB=SECRET).entry("tweak-it")
    assert entry
    assert entry.off
    assert entry.off.startswith("TWEAK_IT_KNOB: ")
    assert SECRET not in entry.off


def test_an_action_that_is_off_leaves_the_others_on() -> None:
    found = registry(TWEAKER_KNOB="1")
    assert found.find("prefixed")
    assert not found.find("tweak-it")


def test_settings_are_read_under_the_name_or_the_prefix_of_the_action() -> None:
    found = registry(TWEAK_IT_KNOB="1", TWEAKER_KNOB="2")
    assert setting(found, "tweak-it").knob == 1
    assert setting(found, "prefixed").knob == 2


def test_a_setting_can_be_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    found = registry(TWEAK_IT_KNOB="1", TWEAK_IT_TOKEN_FILE=str(tmp_path / "token"))
    assert setting(found, "tweak-it").token.get_secret_value() == SECRET


def test_a_file_that_can_not_be_read_turns_the_action_off(tmp_path: Path) -> None:
    entry = registry(TWEAK_IT_KNOB="1", TWEAK_IT_TOKEN_FILE=str(tmp_path / "none")).entry("tweakit")
    assert entry
    assert entry.off
    assert entry.off.startswith("TWEAK_IT_TOKEN_FILE: can't read ")


def test_the_environment_of_the_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWEAK_IT_KNOB", "1")
    monkeypatch.setenv("KNOB", "1")
    assert registry().find("tweak-it") is None


# Which are switched on


def test_only_the_actions_named_are_switched_on(folder: Path) -> None:
    (folder / "purge.py").write_text(PURGE)
    variables = {"PURGE_CACHE_ZONE": "eu", "FLAGD_FILE": "flags.json"}
    found = discover(variables, folder=folder, switched_on=("Clear_Cache",))
    states = {entry.name: entry.off for entry in found.entries}
    assert states == {"purge-cache": None, **dict.fromkeys(BUILT_IN, "not named in REMEDY_ACTIONS")}


def test_every_configured_action_is_on_where_none_is_named(folder: Path) -> None:
    (folder / "purge.py").write_text(PURGE)
    variables = {
        "PURGE_CACHE_ZONE": "eu",
        "FLAGD_FILE": "flags.json",
        "KUBECONFIG": str(folder / "purge.py"),
        "WEBHOOK_HOSTS": "hooks.example.com",
        "WAIT_LONGEST": "1h",
        "RUN_JOB_IMAGES": "alpine:*",
        "EVICT_MOST_PODS": "1",
        "DRAIN_MOST_NODES": "1",
        "PAUSE_ROLLOUT_KINDS": "deployments",
        "ARGOCD_NAMESPACE": "argocd",
        "RESIZE_MOST_CPU": "2",
        "RESIZE_MOST_MEMORY": "2Gi",
    }
    assert all(entry.action for entry in discover(variables, folder=folder).entries)


def test_a_name_that_no_action_has_is_a_mistake() -> None:
    assert mistakes(switched_on=("toggle-feature", "nope")) == [
        f"REMEDY_ACTIONS: there is no action 'nope'; there are: {', '.join(BUILT_IN)}"
    ]


def test_a_name_near_that_of_an_action_is_proposed() -> None:
    assert mistakes(switched_on=("Scale_replica",)) == [
        "REMEDY_ACTIONS: there is no action 'Scale_replica'; did you mean scale-replicas?"
    ]


# Further names


def test_an_action_goes_by_the_names_that_the_operator_gives_it() -> None:
    found = discover(
        {"WEBHOOK_HOSTS": "x.example.com"}, aliases=("Purge_CDN=http", "hello=run-job")
    )
    entry = found.find("purge-cdn")
    assert entry
    assert (entry.name, entry.goes_by("purgecdn")) == ("webhook", True)
    assert found.names["webhook"] == ("webhook", "http", "call-url", "generic", "Purge_CDN")
    on = discover({}, aliases=("hello=run-job",), switched_on=("Hello",))
    left = [each.name for each in on.entries if "not named in" not in (each.off or "")]
    assert left == ["run-job"]
    off = found.entry("hello")
    assert off
    assert (off.name, found.find("hello")) == ("run-job", None)


@pytest.mark.parametrize(
    ("alias", "mistake"),
    [
        ("hello", "'hello' is not NAME=ACTION, such as restart-cache=webhook"),
        ("=webhook", "'=webhook' is not NAME=ACTION, such as restart-cache=webhook"),
        ("hello=", "'hello=' is not NAME=ACTION, such as restart-cache=webhook"),
        ("hello=webhok", "there is no action 'webhok'; did you mean webhook?"),
        ("Job=webhook", "'Job' means run-job already"),
        ("scale=webhook", "'scale' means scale already"),
    ],
)
def test_a_name_that_can_not_be_given_is_told(alias: str, mistake: str) -> None:
    assert mistakes(aliases=("purge=webhook", alias)) == [f"REMEDY_ALIASES: {mistake}"]


def test_a_name_is_given_once() -> None:
    taken = mistakes(aliases=("purge=webhook", "Purge=run-job"))
    assert taken == ["REMEDY_ALIASES: 'Purge' means webhook already"]


# What can't be used


def test_a_file_that_can_not_be_imported_is_named_and_the_others_are_read(folder: Path) -> None:
    (folder / "a.py").write_text("import nothing_of_that_name")
    (folder / "b.py").write_text("def (")
    (folder / "c.py").write_text(PLAIN.format(cls="Nameless", name="-"))
    told = mistakes(folder)
    assert [line.partition(": ")[0] for line in told] == [
        str(folder / name) for name in ("a.py", "b.py", "c.py")
    ]
    assert "nothing_of_that_name" in told[0]


def test_an_entry_point_that_can_not_be_loaded_is_named_with_its_package(package: Package) -> None:
    package("broken_actions", "1 / 0", broken="broken_actions:Broken")
    (told,) = mistakes()
    assert told == (
        "broken_actions (broken_actions:Broken): can't be loaded:"
        " line 1: ZeroDivisionError: division by zero"
    )


def test_a_folder_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    (told,) = mistakes(tmp_path / "nowhere")
    assert told == f"REMEDY_ACTIONS_DIR: {tmp_path / 'nowhere'} is not a folder"


@pytest.mark.parametrize(
    ("declaration", "told"),
    [
        ("def Broken(): ...", "is not a subclass of Action or PlannedAction"),
        ("class Broken: name = 'x'", "is not a subclass of Action or PlannedAction"),
        ("class Broken(Action): name = 'x'", "Broken must define run"),
        ("class Broken(PlannedAction): name = 'x'", "must define apply, plan, undo, verify"),
        ("class Broken(Whole): ...", "Broken.name must be the `action:` of remediation.yaml"),
        ("class Broken(Whole): name = ' _'", "Broken.name must be the `action:`"),
        ("class Broken(Whole): name = 7", "Broken.name must be the `action:`"),
        ("class Broken(Whole): name, aliases = 'x', 'y'", "Broken.aliases must be a tuple"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_told_in_the_authors_words(
    package: Package, declaration: str, told: str
) -> None:
    whole = "class Whole(Action):\n    async def run(self, context, value): ...\n"
    source = f"from keptn_remedy import Action, PlannedAction\n{whole}\n{declaration}\n"
    package("odd_actions", source, odd="odd_actions:Broken")
    (mistake,) = mistakes()
    assert mistake.startswith("odd_actions (odd_actions:Broken)")
    assert told in mistake


def test_a_nameless_class_of_a_folder_is_refused_and_an_abstract_one_is_no_action(
    folder: Path,
) -> None:
    nameless = PLAIN.format(cls="Nameless", name="x").replace('    name = "x"\n', "")
    (folder / "a.py").write_text("from keptn_remedy import Action\nclass Half(Action): ...\n")
    (folder / "b.py").write_text(nameless)
    (told,) = mistakes(folder)
    assert told.startswith(f"{folder / 'b.py'}: Nameless.name must be")


# One that can't be used leaves the others on


EXITING_ALIASES = """
import sys
from keptn_remedy import Action

class Meta(type(Action)):
    @property
    def aliases(cls): sys.exit(4)

class Odd(Action, metaclass=Meta):
    name = "odd"
    async def run(self, context, value): ...
"""
BROKEN_FILES = [
    (EXITING_ALIASES, "can't be read: SystemExit: 4"),
    ("import nothing_of_that_name", "line 1: ModuleNotFoundError: No module named 'nothing_of"),
    ("x = 1\ndef (", "line 2: SyntaxError: invalid syntax"),
    ("import sys\nsys.exit(4)", "line 2: SystemExit: 4"),
    ("raise BaseException('odd')", "line 1: BaseException: odd"),
    ("raise KeyboardInterrupt", "line 1: KeyboardInterrupt"),
    ("from keptn_remedy import Action\nclass Half(Action): name = 'half'", "Half must define run"),
    ("\0", "SyntaxError: source code string cannot contain null bytes"),
    ("raise ValueError('x' * 10**6)", "line 1: ValueError: xxx"),
]


@pytest.mark.parametrize(("source", "why"), BROKEN_FILES)
def test_a_file_that_is_broken_is_left_out_and_the_others_work(
    folder: Path, source: str, why: str
) -> None:
    (folder / "a.py").write_text(source)
    (folder / "b.py").write_text(PLAIN.format(cls="One", name="one"))
    found = discover({}, folder=folder)
    assert found.find("one")
    (broken,) = found.broken
    assert (broken.name, broken.origin) == ("a.py", str(folder / "a.py"))
    assert why in broken.why
    assert len(broken.why) < 1000


def test_a_package_that_is_broken_is_left_out_and_the_others_work(package: Package) -> None:
    package("broken_actions", "import sys; sys.exit(4)", broken="broken_actions:Broken")
    found = discover({})
    assert found.entry("scale")
    assert [broken.name for broken in found.broken] == ["broken"]


def test_a_name_to_switch_on_that_may_be_in_a_broken_file_ends_nothing(folder: Path) -> None:
    (folder / "purge.py").write_text("1 / 0")
    found = discover({}, folder=folder, switched_on=("purge-cache", "scale"))
    assert [broken.name for broken in found.broken] == ["purge.py", "REMEDY_ACTIONS"]
    assert "there is no action 'purge-cache'" in str(found.broken[1])


HOSTILE_PARTS = {
    "Settings": """
    class Settings(ActionSettings):
        @field_validator("zone", mode="before")
        @classmethod
        def _zone(cls, value): sys.exit(4)
        zone: str = "eu"
""",
    "__init__": "    def __init__(self, settings): sys.exit(4)\n",
}


@pytest.mark.parametrize("part", HOSTILE_PARTS)
def test_an_action_whose_construction_exits_is_off(folder: Path, part: str) -> None:
    head = "import sys\nfrom keptn_remedy import ActionSettings\n"
    head += "from pydantic import field_validator"
    source = head + PLAIN.format(cls="One", name="one") + HOSTILE_PARTS[part]
    (folder / "a.py").write_text(source)
    entry = discover({"ONE_ZONE": "eu"}, folder=folder).entry("one")
    assert entry
    assert entry.off
    assert part in entry.off


async def test_a_close_that_exits_or_is_not_async_leaves_the_others_to_close() -> None:
    closed: list[str] = []

    class Exits(Tweak):
        async def close(self) -> None:
            sys.exit(4)

    class Sync(Tweak):
        name = "sync"
        aliases = ()

        def close(self) -> Any:
            closed.append(self.name)

    variables = {"TWEAK_IT_KNOB": "1", "SYNC_KNOB": "1"}
    await of({Exits: "here", Sync: "here"}, variables).close()
    assert closed == ["sync"]


# Who may write the folder


@pytest.mark.parametrize("place", [".", "a.py", "__pycache__", ".."])
def test_code_that_others_may_write_is_not_loaded(folder: Path, place: str) -> None:
    (folder / "a.py").write_text(PLAIN.format(cls="One", name="one"))
    (folder / "__pycache__").mkdir()
    (folder / place).chmod(0o777)
    try:
        (told,) = mistakes(folder)
        assert f"everybody may write {(folder / place).resolve()} (mode 777)" in told
        assert discover({}, folder=folder, trusts_others=True, is_strict=True).find("one")
    finally:
        (folder / place).chmod(0o700)


def test_a_folder_of_another_user_is_not_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    if folder.stat().st_uid == 0:
        os.chown(folder, 1, -1)
        monkeypatch.undo()
    (told,) = mistakes(folder)
    assert f"{folder.resolve()} belongs to user " in told


def test_a_named_class_that_misspells_its_method_is_told_what_is_missing(folder: Path) -> None:
    (folder / "a.py").write_text(
        "from keptn_remedy import Action\n"
        "class Half(Action):\n"
        "    name = 'half'\n"
        "    async def runs(self, context, value): ...\n"
    )
    assert mistakes(folder) == [f"{folder / 'a.py'}: Half must define run"]


def test_errors_to_retry_that_are_no_tuple_are_refused(folder: Path) -> None:
    source = PLAIN.format(cls="Odd", name="odd").replace(
        '    name = "odd"\n', '    name = "odd"\n    retry_on = [ValueError]\n'
    )
    (folder / "a.py").write_text(source)
    (told,) = mistakes(folder)
    where = f"{folder / 'a.py'}: can't be loaded: line 4: TypeError"
    assert told == f"{where}: Odd.retry_on must be a tuple of exceptions"


async def test_closing_the_registry_closes_the_actions_that_are_on() -> None:
    closed: list[str] = []

    class Closing(Tweak):
        async def close(self) -> None:
            closed.append(self.name)

    class Off(Closing):
        name = "off"

    await of({Closing: "here", Off: "here"}, {"TWEAK_IT_KNOB": "1"}).close()
    assert closed == ["tweak-it"]
