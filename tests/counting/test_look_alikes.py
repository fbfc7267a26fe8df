"""Claims about the hint for a missing database: one under another name is named."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from harness.databases import V1
from opencode_exporter.errors import SourceMissingError
from opencode_exporter.source.locate import databases
from opencode_exporter.source.opencode.source import Source


def hint(directory: Path, *named: Path, home: Path) -> str:
    """Return what is said of the one database that is polled."""
    (path,) = databases(named, {"XDG_DATA_HOME": str(directory.parent)}, home)
    with pytest.raises(SourceMissingError) as told, Source(path, "x").open():
        pass
    return told.value.hint


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return OpenCode's data directory with a database of something else."""
    directory = tmp_path / "data/opencode"
    directory.mkdir(parents=True)
    with apsw.Connection(str(directory / "music.db")) as other:
        other.execute("CREATE TABLE song (id, name)")
    other.close()
    (directory / "a.db").write_bytes(b"no database")
    (directory / "b.db").symlink_to("gone.db")
    return directory


def test_database_under_another_name_is_named(data: Path, home: Path) -> None:
    """A directory with the database as ``work.db`` was said to have none, and no more."""
    V1(data / "work.db").close()
    before = sorted(path.name for path in data.iterdir())
    for named in ((), (data,)):
        assert hint(data, *named, home=home) == (
            "'work.db' beside it has OpenCode's tables: name it with --source.path"
        )
    assert sorted(path.name for path in data.iterdir()) == before


def test_other_databases_are_not_named(data: Path, home: Path) -> None:
    """What has no tables of OpenCode's, or is no database at all, is left alone."""
    assert hint(data, data, home=home).startswith("start OpenCode once")


def test_directory_that_is_not_there_has_the_plain_hint(tmp_path: Path, home: Path) -> None:
    """Nothing to look into is no error of its own."""
    assert hint(tmp_path / "gone/opencode", home=home).startswith("start OpenCode once")
