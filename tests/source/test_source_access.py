"""The source is read as it lies there: nothing written, nothing missed, no secret touched."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw
import pytest

from harness.databases import V1, V2
from harness.exporters import Bench, exposed
from harness.rereading import CALLS, SOURCE, add_call, fill
from opencode_exporter.source.opencode.source import Source

GOOD: Final = {("read", "completed"): 1}


def names(directory: Path) -> set[str]:
    """Return what lies in a directory, the tests' own things left out."""
    return {path.name for path in directory.iterdir() if path.is_file()}


@pytest.mark.parametrize("generation", [V1, V2])
def test_nothing_appears_beside_a_cold_database(generation: type[V1 | V2], bench: Bench) -> None:
    """Reading a cleanly closed database leaves its directory and its bytes as they were."""
    fill(bench.source, generation)
    before = bench.source.read_bytes()
    assert names(bench.directory) == {SOURCE}
    assert bench.read_once().by(CALLS, "tool", "status") == GOOD
    assert names(bench.directory) == {SOURCE}
    assert bench.source.read_bytes() == before


@pytest.mark.parametrize("generation", [V1, V2])
def test_newest_rows_of_a_live_writer_are_read(generation: type[V1 | V2], bench: Bench) -> None:
    """Every commit is seen at the next poll, though it is in the WAL alone."""
    exporter = bench.exporter()
    with generation(bench.source) as database:
        size = bench.source.stat().st_size
        for count in range(1, 4):
            add_call(database)
            exporter.poll()
            assert exposed(exporter).total(CALLS) == count
        assert bench.source.stat().st_size == size
        exporter.poll()
    assert names(bench.directory) == {SOURCE}  # our reading did not keep the WAL from being folded
    exporter.poll()
    assert exposed(exporter).total(CALLS) == 3
    exporter.close()


def test_link_to_a_live_database_is_read_with_its_wal(bench: Bench) -> None:
    """The WAL of a database behind a link lies beside the file that the link names."""
    real = bench.directory / "elsewhere" / "real.db"
    exporter = bench.exporter()
    with V1(real) as database:
        bench.source.symlink_to(real)
        for count in range(1, 3):
            add_call(database)
            exporter.poll()
            assert exposed(exporter).total(CALLS) == count
    exporter.close()


@pytest.mark.parametrize("generation", [V1, V2])
@pytest.mark.parametrize("table", ["account", "control_account", "credential", "event"])
def test_secrets_cannot_be_read(table: str, generation: type[V1 | V2], bench: Bench) -> None:
    """The connection itself denies the tables that hold secrets, whatever is asked."""
    fill(bench.source, generation)
    with Source(bench.source, SOURCE).open() as reader:
        for sql in (f"SELECT * FROM {table}", f"SELECT count(*) FROM {table}"):
            with pytest.raises(apsw.AuthError):
                reader.query(sql)
        for sql in ("DELETE FROM project", "PRAGMA journal_mode = DELETE", "ATTACH 'x' AS x"):
            with pytest.raises(apsw.AuthError):
                reader.query(sql)
