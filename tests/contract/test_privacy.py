"""What users and models wrote stays in OpenCode's database: it is nowhere in what we write."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from contract.odd_secrets import OddRows
from contract.planting import PREFIX, Planter, leaks
from harness.exporters import Bench
from harness.otlp.receivers import HttpReceiver
from harness.otlp.traced_exporter import spans_of, tracing
from harness.processes.command import Place
from harness.processes.served import Served
from harness.recordings import truth, unpack
from harness.replaying import Replay
from harness.waiting import wait_for
from opencode_exporter.commands.cli import cli

RECORDINGS = ("turns-1.18.33", "turns-2.0.15", "upgrade-1.18.33-2.0.15")
DEBUG = ("--log.level", "debug")


@dataclass
class Planted:
    """A database full of secrets, in a home whose files hold secrets as well."""

    place: Place
    planter: Planter
    rows: OddRows

    def assert_clean(self, **outputs: str | bytes) -> None:
        """Fail on a secret in any output, and say which texts it came from."""
        for name, output in outputs.items():
            found = leaks(output.encode() if isinstance(output, str) else output)
            places = self.planter.named_in("".join(found))
            assert not found, f"{name} holds {sorted(places)}: {found[0]!r}"


@pytest.fixture(params=RECORDINGS)
def planted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Planted]:
    """A recording in which every text is a secret, with odd rows, beside skills on disk."""
    place, planter = Place(tmp_path), Planter()
    unpack(request.param, place.source.parent)
    planter.plant(place.source)
    rows = OddRows(place.source, planter)
    rows.write()
    skill = place.home / ".config" / "opencode" / "skills" / "local"
    skill.mkdir(parents=True)
    words = [planter.secret(what) for what in ("skill's description", "skill's text")]
    (skill / "SKILL.md").write_text("---\nname: local\ndescription: {}\n---\n{}\n".format(*words))
    (place.home / ".config" / "opencode" / "opencode.json").write_text(
        f'{{"mcp": {{"demo": {{"environment": {{"KEY": "{planter.secret("MCP server")}"}}}}}}, '
        f'"provider": {{"p": {{"options": {{"apiKey": "{planter.secret("API key")}"}}}}}}}}'
    )
    yield Planted(place, planter, rows)
    rows.close()


def files_in(directory: Path) -> Mapping[str, bytes]:
    """Return what every file in a directory holds."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.mark.slow
def test_served_pages_ledger_and_log_hold_no_secret(planted: Planted, tmp_path: Path) -> None:
    """Pages in every format, the ledger's files and a log in full detail, while it works."""
    state = tmp_path / "state"
    with Served(planted.place.source, state, *DEBUG, home=planted.place.home) as served:
        wait_for(served.is_ready)
        for _ in range(2):
            planted.assert_clean(
                text=served.get("/metrics").content,
                openmetrics=served.get("/metrics", accept=CONTENT_TYPE_LATEST).content,
                landing=served.get("/").content,
                ready=served.get("/-/ready").content,
                missing=served.get("/nothing").content,
                **files_in(state),
            )
            planted.rows.write()
        page = served.page()
        assert page.by("opencode_tool_in_flight", "tool")
        assert page.total("opencode_exporter_rows_rejected_total") > 0
        assert page.by("opencode_skill_invocations_total", "skill")["_unknown",] > 0
        assert served.stop() == 0
        served.start()
        wait_for(served.is_ready)
        planted.assert_clean(again=served.get("/metrics").content, **files_in(state))


@pytest.mark.parametrize("recording", RECORDINGS)
def test_spans_and_exemplars_hold_no_secret_and_no_id(
    recording: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a text nor an id of OpenCode leaves with a trace, though every call is one."""
    source = unpack(recording, bench.directory / "old")
    planter = Planter()
    planter.plant(source)
    replay = Replay(source, bench.source)
    moves = replay.moves()
    bench.clock.ms = moves[0].at
    with HttpReceiver() as receiver:
        receiver.name_in(monkeypatch)
        with tracing(bench, receiver) as traced:
            traced.poll()
            for move in moves:
                bench.clock.ms = max(bench.clock.ms, move.at)
                move.write()
            bench.clock.advance(hours=1)
            traced.poll()
            page = traced.exporter.pages.metrics(CONTENT_TYPE_LATEST).body
        sent = b"".join(request.body.SerializeToString() for request in receiver.traced)
    replay.close()
    assert len(spans_of(receiver.traced)) > 20
    assert page.count(b"trace_id=") > 20
    assert not leaks(sent)
    assert not leaks(page)
    for kind in (b"ses_", b"msg_", b"prt_", b"call_"):
        assert kind not in sent


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [("once", *DEBUG), ("check",), ("report", *DEBUG), ("report", "--format", "json", *DEBUG)],
    ids=" ".join,
)
def test_what_a_command_prints_holds_no_secret(words: tuple[str, ...], planted: Planted) -> None:
    """Neither stdout nor the log of a command that reads the database names what it read."""
    if words[0] not in cli.commands:
        pytest.skip(f"there is no command {words[0]} yet")
    done = planted.place.run(*words, "--source.path", str(planted.place.source))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 200
    planted.assert_clean(stdout=done.stdout, stderr=done.stderr)


@pytest.mark.slow
def test_failure_of_ours_is_told_without_row_content(
    planted: Planted,
    monkeypatch: pytest.MonkeyPatch,
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A defect in a decoder is logged by its kind and place, not by the text of its exception."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(planted.planter.secret("exception"))

    monkeypatch.setattr("opencode_exporter.ledger.ledger.Ledger.apply", fail)
    exporter = bench.exporter(in_memory=True, source_paths=(planted.place.source,))
    caplog.set_level("DEBUG")
    exporter.poll()
    health = [state.problem for state in exporter.poller.health.values()]
    assert all(health)
    planted.assert_clean(log=caplog.text, landing=str(exporter.pages.landing()), health=str(health))
    exporter.close()


# The search itself.


@pytest.mark.parametrize(
    "written",
    [
        f"x{PREFIX}000001".encode(),
        PREFIX.upper().encode(),
        f"ab{PREFIX}".encode("utf-16-le"),
        PREFIX.encode("utf-16-be"),
        f"ab{PREFIX}".encode().hex().encode(),
        *(base64.b64encode(b"abc"[:ahead] + PREFIX.encode() + b"001") for ahead in range(3)),
    ],
)
def test_search_finds_a_secret_in_every_encoding(written: bytes) -> None:
    """Clear, UTF-16, hexadecimal and base64 at every alignment are found."""
    assert leaks(b"some page " + written + b" goes on")
    assert not leaks(b"some page goes on")


@pytest.mark.parametrize("recording", RECORDINGS)
def test_planted_recording_still_counts(recording: str, bench: Bench) -> None:
    """Secrets change no invocation, step, turn or token, so that all of the code sees them."""
    unpack(recording, bench.directory)
    bench.clock.ms = truth(recording)["recorded_at_ms"] + 1000
    before = bench.read_once()
    planter = Planter()
    planter.plant(bench.source)
    after = bench.read_once()
    for name in (
        *("opencode_tool_usage_total", "opencode_tool_errors_total", "opencode_skill_usage_total"),
        *("opencode_steps_total", "opencode_turns_total", "opencode_tokens_total"),
    ):
        assert after.samples.get(name) == before.samples.get(name)
    assert len(planter.places) > 500
