"""The policy file: what it may say, and the mistakes that are reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keptn_remedy.guardrails import units
from keptn_remedy.guardrails.policy import Policy, PolicyError, Rule
from keptn_remedy.support.reading import MAX_BYTES

ROOT = Path(__file__).parents[3]
NO_WORD = "a key must be a word; numbers, true and false need quotes"
EXAMPLE_TEXT = (ROOT / "examples" / "policy.yaml").read_text("utf-8")


def mistakes(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        Policy.load(text)
    return caught.value.mistakes


def found_in(text: str) -> list[str] | None:
    """The mistakes of a policy; None if it is good."""
    try:
        Policy.load(text)
    except PolicyError as error:
        return error.mistakes
    return None


def policy(rule: str) -> str:
    """A policy of one rule, whose settings are given in one line."""
    return f"version: 1\nrules:\n- {{name: one, {rule}}}"


def only_rule(settings: str) -> Rule:
    return Policy.load(policy(settings)).rules[0]


def only_mistake(settings: str) -> str:
    (mistake,) = mistakes(policy(settings))
    return mistake.removeprefix("line 3: rule 'one'").removeprefix(", ").removeprefix(": ")


# What it may say


def test_the_example_is_a_good_policy() -> None:
    assert len(Policy.load(EXAMPLE_TEXT).rules) == 8


def test_a_policy_without_rules_is_good() -> None:
    assert Policy.load("version: 1").rules == ()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), ("45", 45), ("0.5", 0.5)],
)
def test_lengths_of_time_have_units_or_are_seconds(written: str, seconds: float) -> None:
    assert only_rule(f"cooldown: {written}").cooldown == seconds


@pytest.mark.parametrize("seconds", [0, 1, 90, 900, 5400, 86_400, 90_061])
def test_a_length_of_time_is_reported_as_it_may_be_written(seconds: int) -> None:
    assert units.seconds(units.in_words(seconds)) == seconds


@pytest.mark.parametrize(
    ("step", "before", "allowed"),
    [
        ("x2", 4, range(2, 9)),
        ("x2", 5, range(3, 11)),
        ("x2", 0, range(2)),
        ("x1.5", 1, range(3)),
        ("50%", 4, range(2, 7)),
        ("50%", 1, range(3)),
        ("5", 7, range(2, 13)),
    ],
)
def test_a_step_bounds_scaling_up_and_down_and_one_replica_is_always_allowed(
    step: str, before: int, allowed: range
) -> None:
    made = only_rule(f"replicas_step: {step}").replicas_step
    assert made
    assert made.bounds(before) == (allowed[0], allowed[-1])
    assert str(made) == step


def test_a_glob_may_stand_alone_or_in_a_list() -> None:
    match = only_rule("match: {stage: prod, service: [a, 'b-*']}, mode: act").match
    assert (match.stage, match.service) == (("prod",), ("a", "b-*"))


def test_null_is_something_that_a_rule_sets() -> None:
    rule = only_rule("cooldown: null, storm: ~")
    assert rule.settings == {"cooldown", "storm"}


def test_anchors_and_merge_keys_may_be_used() -> None:
    text = """
version: 1
rules:
- &base
  name: one
  cooldown: 5m
  windows: &hours [{from: "08:00", to: "18:00"}]
- {<<: *base, name: two, match: {stage: prod}}
- {name: three, match: {stage: dev}, windows: *hours}
"""
    one, two, three = Policy.load(text).rules
    assert two.cooldown == one.cooldown == 300
    assert three.windows == one.windows


# What other YAML readers read as something else


def test_times_and_dates_need_no_quotes() -> None:
    windows = only_rule("windows: [{from: 08:00, to: 18:30}]").windows
    blackouts = only_rule("blackouts: [{from: 2026-12-23, to: 2026-12-24T18:00}]").blackouts
    assert windows
    assert (windows[0].start, windows[0].end) == (8 * 60, 18 * 60 + 30)
    assert blackouts
    assert (str(blackouts[0].start), str(blackouts[0].end)) == ("2026-12-23", "2026-12-24 18:00")


@pytest.mark.parametrize("name", ["no", "on", "off", "y", "2026-01-01", "1:30"])
def test_names_that_look_like_something_else_are_names(name: str) -> None:
    assert only_rule(f"match: {{service: {name}}}, mode: act").match.service == (name,)


@pytest.mark.parametrize("name", ["123", "1.5", "true", "[12]"])
def test_numbers_and_truth_values_as_names_must_be_quoted(name: str) -> None:
    assert "need quotes" in only_mistake(f"match: {{service: {name}}}, mode: act")
    assert only_rule(f"match: {{service: {name!r}}}, mode: act").match.service == (name,)


def test_yes_is_a_word_and_not_true() -> None:
    assert (
        only_mistake("zero_replicas: yes") == "zero_replicas: must be true or false; it says 'yes'"
    )


# Mistakes


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ("cooldwon: 5m", "there is no 'cooldwon'; did you mean cooldown?"),
        ("mode: act, match: {stages: x}", "match: there is no 'stages'; did you mean stage?"),
        ("undo: {on_close: true}", "undo: there is no 'on_close'; did you mean on_closed?"),
        ("undo: {zzz: 1}", "undo: there is no 'zzz'; there are: after, on_abort, on_closed"),
        (
            "at_most: [{executions: 1, within: 1h, prr: target, per: target}]",
            "at_most 1: there is no 'prr'; did you mean per?",
        ),
        (
            "mode: dryrun",
            "mode: must be one of act, dry-run, approve, not 'dryrun'; did you mean dry-run?",
        ),
        ("mode: null", "mode: has no value; give it one, or remove it"),
        ("match: {stage: }, mode: act", "match, stage: has no value; give it one, or remove it"),
        ("match: {stage: ''}, mode: act", "match, stage 1: must not be empty"),
        ("match: {stage: []}, mode: act", "match, stage: must not be empty"),
        ("match: {stage: prod}", "it sets nothing; add a setting or remove the rule"),
        ("at_once: '5'", "at_once: must be a whole number, without quotes; it says '5'"),
        ("at_once: 0", "at_once: must be 1 or more; it says '0'"),
        ("suspend_after: 51", "suspend_after: must be 50 or less; it says '51'"),
        ("settle: -1", "settle: must be a duration from 0 to 366d; it says '-1'"),
        ("cooldown: 0s", "cooldown: must be longer than 0; it says '0s'"),
        ("cooldown: 400d", "cooldown: must be a duration from 0 to 366d; it says '400d'"),
        (
            "cooldown: 5 minutes",
            (
                "cooldown: must be a duration: 90s, 15m, 1h30m, 2d, or a number of seconds;"
                " it says '5 minutes'"
            ),
        ),
        ("replicas_step: x1", "replicas_step: must be more than x1; it says 'x1'"),
        (
            "replicas_step: 2x",
            (
                "replicas_step: must be a step: x2, 50%, or a whole number of replicas, 1 or more;"
                " it says '2x'"
            ),
        ),
        ("storm: {percent: 33, within: 1h}", "storm: targets is missing"),
        (
            "storm: {targets: 5, percent: 0, within: 1h}",
            "storm, percent: must be more than 0; it says '0'",
        ),
        ("windows: []", "windows: must not be empty"),
        ("windows: {from: 08:00, to: 09:00}", "windows: must be a list"),
        (
            "windows: [{from: 08:00, to: 8:00}]",
            'windows 1: from and to are the same; a whole day is from "00:00" to "24:00"',
        ),
        (
            "windows: [{from: 24:00, to: 8:00}]",
            'windows 1: from can\'t be "24:00"; the next day begins at "00:00"',
        ),
        (
            "windows: [{from: 1080, to: 8:00}]",
            (
                'windows 1, from: must be a time of day, such as "08:00"; "24:00" ends a day;'
                " it says '1080'"
            ),
        ),
        (
            "windows: [{days: [monday], from: 08:00, to: 18:00}]",
            (
                "windows 1, days 1: must be one of mon, tue, wed, thu, fri, sat, sun, not 'monday';"
                " did you mean mon?"
            ),
        ),
        *(
            (
                f"windows: [{{days: '{days}', from: 08:00, to: 18:00}}]",
                (
                    "windows 1, days 1: must be one of mon, tue, wed, thu, fri, sat, sun, not"
                    f" '{days}'; write a list: [{meant}]"
                ),
            )
            for days, meant in (
                ("mon-fri", "mon, tue, wed, thu, fri"),
                ("monday to wednesday", "mon, tue, wed"),
                ("sat-mon", "sat, sun, mon"),
                ("mon, fri", "mon, fri"),
                ("mon and fri", "mon, fri"),
                ("sat,sun,mon", "sat, sun, mon"),
            )
        ),
        (
            "windows: [{days: weekdays, from: 08:00, to: 18:00}]",
            "windows 1, days 1: must be one of mon, tue, wed, thu, fri, sat, sun, not 'weekdays'",
        ),
        (
            "at_most: [{executions: 1, within: 1h, per: 'target, stage'}]",
            (
                "at_most 1, per 1: must be one of target, action, stage, service, not"
                " 'target, stage'; write a list: [target, stage]"
            ),
        ),
        (
            "windows: [{from: 08:00, to: 18:00, timezone: Asia/Tokio}]",
            "windows 1, timezone: there is no time zone 'Asia/Tokio'; did you mean Asia/Tokyo?",
        ),
        (
            "windows: [{from: 08:00, to: 18:00, timezone: 'x{}'}]",
            "windows 1, timezone: there is no time zone 'x{}'; an example is Europe/Berlin",
        ),
        ("blackouts: [{from: 2026-12-24, to: 2026-12-23}]", "blackouts 1: to is not after from"),
        (
            "blackouts: [{from: 2026-02-30, to: 2026-12-23}]",
            (
                "blackouts 1, from: must be a date, 2026-12-23, or a date and time,"
                " 2026-12-23T18:00: day is out of range for month; it says '2026-02-30'"
            ),
        ),
        ("at_most: [{executions: 3, per: target}]", "at_most 1: within is missing"),
        (
            "at_most: [{executions: 3, within: 1h, per: stage}, {executions: null, per: [stage]}]",
            "at_most has two limits with the same per",
        ),
        (
            "replicas_at_least: 5, replicas_at_most: 4",
            "replicas_at_least is more than replicas_at_most",
        ),
        (
            "decision: ignore, match: {target: x}",
            "decision: ignore can't go with match: target, which is known only after planning",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(settings: str, mistake: str) -> None:
    assert only_mistake(settings) == mistake


def test_a_mistake_names_its_line_the_rule_and_the_place() -> None:
    text = """
version: 1
rules:
- name: production
  match: {stage: prod}
  at_most:
    - {executions: 3, within: 1h, per: target}
    - executions: 5
      within: soon
      per: [action]
- match: {stage: dev}
  mode: sleep
"""
    told = mistakes(text)
    assert told[0].startswith("line 9: rule 'production', at_most 2, within: must be a duration")
    assert told[1] == "line 11: rule 2: name is missing"
    assert told[2].startswith("line 12: rule 2, mode: must be one of act")


def test_two_rules_of_one_name_are_a_mistake_at_the_second() -> None:
    text = "version: 1\nrules:\n- {name: a, mode: act}\n- {name: a, mode: act}"
    assert mistakes(text) == ["line 4: rule 'a', name: another rule has this name"]


def test_a_rule_can_not_be_called_as_what_is_built_in() -> None:
    text = "version: 1\nrules:\n- {name: built-in defaults, mode: act}"
    assert mistakes(text)[0].startswith("line 3: rule 'built-in defaults', name: must be")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "it must be a map that begins with `version: 1`"),
        ("- 1", "it must be a map that begins with `version: 1`"),
        ("rules: []", "line 1: version is missing"),
        ("version: 2", "line 1: version: must be 1; it says '2'"),
        ("version: 1\nversion: 1", "line 2: version is in this map twice"),
        ("version: 1\nrules:\n- {name: a, name: b}", "line 3: name is in this map twice"),
        ("version: 1\n? [a]\n: 1", f"line 2: {NO_WORD}"),
        ("version: 1\n1: 2", f"line 2: {NO_WORD}"),
        ("version: 1\nrules: !!set {a, b}", "line 2: tag set is not allowed; remove it"),
        ("version: [1", "line 1: it isn't YAML: expected ',' or ']', but got '<stream end>'"),
        ("version: 1\n---\nversion: 1", "line 2: it isn't YAML: but found another document"),
        ("version: 1\ntimezone: *berlin", "line 2: it isn't YAML: found undefined alias 'berlin'"),
        ("version: !!int many", "line 1: tag int is not allowed; remove it"),
        ("version: !!timestamp x", "line 1: tag timestamp is not allowed; remove it"),
        (
            "version: !!python/name:os.system x",
            "line 1: tag python/name:os.system is not allowed; remove it",
        ),
        ("rules: &a [*a]", "line 1: it has more than 100000 nodes, with aliases written out"),
        pytest.param("[" * 5_000, "it is nested too deeply", id="deep"),
        pytest.param("#" * (MAX_BYTES + 1), "it is larger than 256 KiB", id="large"),
    ],
)
def test_what_is_no_policy_at_all_is_told_in_one_line(text: str, mistake: str) -> None:
    assert mistakes(text) == [mistake]


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(EXAMPLE_TEXT)),
            st.integers(0, 9),
            st.sampled_from(
                ["", "null", "[", "{", ": ", "- ", "&a ", "*a", "<<: ", "5", "'", "\n", "!!x "]
            ),
        ),
        max_size=4,
    )
)
def test_whatever_stands_in_the_file_is_a_policy_or_told_in_lines(
    edits: list[tuple[int, int, str]],
) -> None:
    text = EXAMPLE_TEXT
    for start, length, instead in edits:
        text = text[:start] + instead + text[start + length :]
    found = found_in(text)
    assert found is None or found
    assert not any("\n" in mistake for mistake in found or ())


def test_aliases_do_not_unfold_without_bounds() -> None:
    lines = ["version: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert mistakes("\n".join(lines)) == [
        "line 6: it has more than 100000 nodes, with aliases written out"
    ]


def test_merge_keys_do_not_unfold_without_bounds() -> None:
    lines = ["version: 1", "a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    assert "it has more than 100000 nodes" in mistakes("\n".join(lines))[0]
