"""A session that real OpenCode exports, deletes and imports again counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.recorder import Dialect, Sandbox, scenes
from harness.clock import FakeClock
from harness.exporters import Bench
from harness.pages import CALLS, polled
from harness.real_tools import real_opencode

pytestmark = [pytest.mark.real]


def test_session_exported_deleted_and_imported_again(tmp_path: Path) -> None:
    """The keys of its calls are the same, wherever its rows are now, and new calls are new."""
    bench = Bench(tmp_path, FakeClock())
    bench.clock.advance(hours=24 * 3650)  # later than the real clock, whatever that says
    with Sandbox(real_opencode("1.18.33"), tmp_path / "oc") as oc:
        dialect = Dialect(oc.binary, oc.project)
        exporter = bench.exporter(source_paths=(oc.database,))
        first = oc.run(scenes.bulk(dialect, "first", 6))
        second = oc.run(scenes.bulk(dialect, "second", 4))
        assert polled(exporter).total(CALLS) == 10
        exported = oc.launch("export", first)
        assert exported.wait() == 0
        saved = tmp_path / "session.json"
        saved.write_text(exported.output[exported.output.index("{\n") :], encoding="utf-8")
        oc.delete(first)
        oc.delete(second)  # so that all rowids are free again
        assert oc.launch("import", str(saved)).wait() == 0
        assert polled(exporter).total(CALLS) == 10
        oc.run(scenes.bulk(dialect, "third", 3), session=first)
        assert polled(exporter).total(CALLS) == 13
        exporter.close()
