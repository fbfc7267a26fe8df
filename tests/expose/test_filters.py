"""Tools and skills that are not to be shown: what patterns leave out, and what they do not lose."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.databases import V1
from harness.exporters import Bench, Exposed, exposed
from harness.processes.command import Place
from harness.recordings import truth, unpack
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.filters import Filters, NameFilter, parse_pattern

RECORDING = "turns-2.0.15"
TOTAL = "opencode_tool_invocations_total"


def only(*, include: str = "", exclude: str = "") -> NameFilter:
    """Return the filter of two flags."""
    return NameFilter(parse_pattern(include), parse_pattern(exclude))


def named(page: Exposed, *labels: str) -> set[str]:
    """Return what any series of any metric names by one of these labels."""
    return {
        value
        for series in page.samples.values()
        for found in series
        for label, value in found
        if label in labels
    }


@pytest.fixture
def recorded(bench: Bench) -> Bench:
    """A source with skill runs, transitions and many tools."""
    unpack(RECORDING, bench.directory)
    bench.clock.ms = truth(RECORDING)["recorded_at_ms"] + 1000
    return bench


# What a pattern matches.


@pytest.mark.parametrize(
    ("rule", "name", "is_shown"),
    [
        (only(), "read", True),
        (only(include="read"), "read", True),
        (only(include="read"), "readme", False),
        (only(include="read|grep"), "grep", True),
        (only(include="read|grep"), "grep_all", False),
        (only(exclude="git.*"), "github_search", False),
        (only(exclude="git.*"), "my_github_search", True),
        (only(exclude="READ"), "read", True),
        (only(exclude="(?i)READ"), "read", False),
        (only(exclude="a"), "a\n", True),
    ],
)
def test_pattern_has_to_match_the_whole_name(
    rule: NameFilter, name: str, *, is_shown: bool
) -> None:
    """A pattern is anchored at both ends, as the exporters' are; no pattern shows everything."""
    assert rule.shows(name) is is_shown


@pytest.mark.parametrize("kind", ["tool", "skill"])
def test_include_and_exclude_exclude_each_other(kind: str) -> None:
    """Both patterns for one kind are refused; one of each kind is fine."""
    with pytest.raises(ConfigError, match=rf"--{kind}.include and --{kind}.exclude exclude each"):
        Filters(**{kind: only(include="a", exclude="b")})
    Filters(tool=only(include="a"), skill=only(exclude="b"))


@pytest.mark.parametrize("text", ["(", "a{99999999999999}", "*", "(?P<x"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    """Whatever the compiler of expressions raises becomes a sentence."""
    with pytest.raises(ConfigError, match="is not a regular expression"):
        parse_pattern(text)


# What is shown.


def test_excluded_tool_is_on_no_series_of_any_metric(recorded: Bench) -> None:
    """Counts, histograms, infos and skills' next tools: an excluded tool is named by none."""
    before = recorded.read_once()
    after = recorded.read_once(filters=Filters(tool=only(exclude="read|_.*")))
    assert named(before, "tool") - named(after, "tool") == {"read", "_unknown", "_other"}
    for name, series in before.samples.items():
        kept = {
            labels
            for labels in series
            if dict(labels).get("tool") not in ("read", "_unknown", "_other")
        }
        assert after.samples.get(name, {}).keys() == kept


def test_included_skills_alone_are_named_by_any_label(recorded: Bench) -> None:
    """Loads, installed skills, runs and both ends of a transition obey the skills' pattern."""
    before = recorded.read_once()
    skills = sorted(name for (name,) in before.by("opencode_skill_invocations_total", "skill"))
    after = recorded.read_once(filters=Filters(skill=only(include=skills[0])))
    assert len(skills) >= 2
    assert named(after, "skill", "from_skill", "to_skill") == {skills[0]}
    assert named(after, "tool") == named(before, "tool")


def test_transition_is_left_out_with_either_end() -> None:
    """A pair of skills is shown only if both are."""
    pairs: dict[tuple[str, ...], int] = {("a", "b"): 1, ("b", "a"): 2, ("b", "c"): 3}
    shown = Filters(skill=only(exclude="a")).shown(("from_skill", "to_skill"), pairs)
    assert shown == {("b", "c"): 3}


def test_tool_named_skill_is_a_tool(recorded: Bench) -> None:
    """The tool `skill` obeys the tools' pattern; the skills that it loaded stay."""
    before = recorded.read_once()
    after = recorded.read_once(filters=Filters(tool=only(exclude="skill")))
    assert "skill" not in named(after, "tool")
    assert named(after, "skill") == named(before, "skill")


def test_what_runs_now_is_left_out_too(bench: Bench) -> None:
    """Gauges of running invocations obey the pattern."""
    with V1(bench.source) as source:
        message = source.message(source.session())
        source.tool(message, tool="grep", status="running", call="call_1")
        source.tool(message, tool="read", status="running", call="call_2")
    page = bench.read_once(filters=Filters(tool=only(exclude="grep")))
    assert page.by("opencode_tool_in_flight", "tool") == {("read",): 1}
    assert page.by("opencode_tool_in_flight_oldest_start_timestamp_seconds", "tool").keys() == {
        ("read",)
    }


def test_changed_pattern_loses_nothing(bench: Bench) -> None:
    """What was counted while it was left out is there once the pattern is taken away."""
    with V1(bench.source) as source:
        message = source.message(source.session())
        source.tool(message, tool="grep")
        hiding = bench.exporter(filters=Filters(tool=only(exclude="grep")))
        hiding.poll()
        assert exposed(hiding).value(TOTAL, tool="grep", status="completed") is None
        source.tool(message, tool="grep", call="call_2")
        hiding.poll()
        hiding.close()
    showing = bench.exporter()
    showing.poll()
    assert exposed(showing).value(TOTAL, tool="grep", status="completed") == 2
    showing.close()


# The real command.


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home whose source is a recording."""
    made = Place(tmp_path)
    unpack(RECORDING, made.source.parent)
    return made


@pytest.mark.slow
def test_flag_wins_over_environment_wins_over_file(place: Place) -> None:
    """Patterns come from wherever other settings come from, in the same order."""
    file = place.home / "exporter.toml"
    file.write_text(f'tool.exclude = "read"\nsource.path = "{place.source}"\n')
    once = ("--config.file", str(file), "once")
    variable = {"OPENCODE_EXPORTER_TOOL_EXCLUDE": "skill"}

    def tools(*words: str, **variables: str) -> set[str]:
        done = place.run(*words, **variables)
        assert done.returncode == 0, done.stderr
        return {"read", "skill", "shell"} & named(Exposed(done.stdout), "tool")

    assert tools(*once) == {"skill", "shell"}
    assert tools(*once, **variable) == {"read", "shell"}
    assert tools(*once, "--tool.exclude=shell", **variable) == {"read", "skill"}
    assert tools(*once, "--tool.exclude=", "--tool.include=read") == {"read"}


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["tool.include", "tool.exclude", "skill.include", "skill.exclude"])
def test_bad_expression_exits_2_and_names_its_flag(flag: str, place: Place) -> None:
    """A pattern that is none is a sentence on stderr, wherever it was given."""
    variable = f"OPENCODE_EXPORTER_{flag.replace('.', '_').upper()}"
    file = place.home / "exporter.toml"
    file.write_text(f'{flag} = "("\n')
    for done in (
        place.run("once", f"--{flag}=("),
        place.run("once", **{variable: "("}),
        place.run("--config.file", str(file), "once"),
    ):
        assert (done.returncode, done.stdout) == (2, "")
        assert f"Invalid value for '--{flag}'" in done.stderr
        assert "'(' is not a regular expression" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_both_patterns_of_a_kind_exit_2(place: Place) -> None:
    """Include and exclude of one kind are refused with a sentence, from wherever they come."""
    done = place.run("serve", "--skill.include=a", OPENCODE_EXPORTER_SKILL_EXCLUDE="b")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--skill.include and --skill.exclude exclude each other: give one of them" in done.stderr
