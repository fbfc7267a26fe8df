"""What the connection to OpenCode's database lets through: our own reads, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.databases import V1, V2
from harness.recordings import unpack
from harness.rereading import SOURCE, fill
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.source import Source

SESSION: Final = {
    *("id", "project_id", "time_created", "directory", "version"),
    *("parent_id", "fork_session_id", "time_archived"),
}
ALLOWED: Final = {
    "session": SESSION,
    "session_v2": SESSION,
    "project": {"id", "worktree"},
    "todo": {"session_id", "status"},
    "message": {"id", "session_id", "time_created", "time_updated", "data"},
    "part": {"id", "message_id", "session_id", "time_created", "time_updated", "data"},
    "session_message": {
        *("id", "session_id", "type", "seq", "time_created", "time_updated", "data"),
    },
}
"""Every column that may be read.  A column more is a decision, not a detail."""

FORBIDDEN: Final = (
    "SELECT * FROM account",
    "SELECT count(*) FROM account",
    "SELECT rowid FROM main.account",
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM account)",
    "SELECT id FROM part WHERE id IN (SELECT email FROM account)",
    "SELECT id FROM part UNION SELECT email FROM account",
    "WITH part AS (SELECT email AS id FROM account) SELECT id FROM part",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 3",
    "SELECT p.id FROM part p JOIN account a ON a.id = p.id",
    "SELECT (SELECT email FROM account) FROM part",
    "SELECT id FROM part ORDER BY (SELECT email FROM account)",
    "SELECT sql FROM sqlite_master",
    "SELECT sql FROM sqlite_schema",
    "SELECT name FROM pragma_table_info('account')",
    "SELECT name FROM pragma_table_list",
    "SELECT * FROM todo",
    "SELECT title FROM session",
    "PRAGMA table_info(account)",
    "PRAGMA table_list",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA query_only = 0",
    "PRAGMA trusted_schema = 1",
    "PRAGMA writable_schema = 1",
    "PRAGMA user_version = 1",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA mmap_size = 1000000",
    "ATTACH ':memory:' AS more",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO 'copy.db'",
    "REINDEX",
    "ANALYZE",
    "INSERT INTO project (id) VALUES ('x')",
    "UPDATE part SET data = ''",
    "DELETE FROM part",
    "DROP TABLE part",
    "ALTER TABLE part RENAME TO other",
    "CREATE TABLE t (a)",
    "CREATE TEMP TABLE t AS SELECT id FROM part",
    "CREATE TEMP VIEW v AS SELECT email FROM account",
    "CREATE TEMP TRIGGER t AFTER INSERT ON part BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE temp.f USING fts5(a)",
    "SAVEPOINT s",
    "COMMIT",
    "SELECT load_extension('x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('x', 'y')",
    "SELECT edit('x')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT randomblob(10)",
    "SELECT zeroblob(1000000000)",
    "SELECT value FROM json_tree('[1]')",
    "SELECT * FROM generate_series(1, 2)",
    "SELECT * FROM dbstat",
    "SELECT * FROM sqlite_stmt",
    "SELECT * FROM carray(1, 2, 'int32')",
)


@pytest.fixture(params=["cold", "unnoticed", "locks"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    """A connection of each kind to a database with a secret in it."""
    path = tmp_path / SOURCE
    fill(path)
    writer = apsw.Connection(str(path))
    writer.execute(
        "INSERT INTO account (id, email, url, access_token, refresh_token, time_created, "
        "time_updated) VALUES ('a', 'e@example.org', 'u', 'sk-secret', 'sk-secret', 1, 1)"
    )
    if request.param == "cold":
        writer.close()
    with Source(path, SOURCE).open(unnoticed=request.param == "unnoticed") as found:
        assert found.is_unnoticed == (request.param == "unnoticed")
        yield found
    writer.close()


def is_refused(reader: Reader, sql: str) -> bool:
    """Return whether a statement is stopped before it does anything."""
    try:
        reader.query(sql).fetchall()
    except (apsw.AuthError, apsw.ReadOnlyError):
        return True
    except apsw.SQLError as err:
        # A function that is denied, or something that is not even there.
        return "not authorized" in str(err) or "no such" in str(err)
    return False


def test_what_is_not_ours_is_refused(reader: Reader) -> None:
    """No way around: not by a name, a function, a pragma, a view, nor by another database."""
    assert [sql for sql in FORBIDDEN if not is_refused(reader, sql)] == []


@given(
    table=st.sampled_from(
        ("account", "control_account", "credential", "event", "kv", "permission")
    ),
    shape=st.sampled_from(
        (
            "SELECT * FROM {}",
            "SELECT count(*) FROM {}",
            "SELECT 1 FROM part, {} LIMIT 0",
            "SELECT id FROM part WHERE EXISTS (SELECT * FROM {})",
            "SELECT max(n) FROM (SELECT count(*) AS n FROM {})",
            "WITH x AS MATERIALIZED (SELECT * FROM {}) SELECT id FROM part, x",
            "SELECT id FROM part EXCEPT SELECT 1 FROM {}",
        )
    ),
    schema=st.sampled_from(("", "main.")),
)
@settings(max_examples=60, deadline=None)
def test_no_shape_of_a_query_reaches_a_secret(
    table: str, shape: str, schema: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However a query is built, a table that is not named is not read."""
    path = tmp_path_factory.getbasetemp() / "shapes" / SOURCE
    if not path.exists():
        fill(path)
    with Source(path, SOURCE).open() as reader:
        assert is_refused(reader, shape.format(schema + table))


@pytest.mark.parametrize("name", ["1.2.27", "1.18.33", "2.0.15", "upgrade-1.18.33-2.0.15"])
def test_real_databases_show_what_is_listed_and_no_more(name: str, tmp_path: Path) -> None:
    """In what real OpenCode wrote, each column is readable exactly if it is listed here."""
    path = unpack(name, tmp_path)
    plain = apsw.Connection(str(path))
    columns: dict[str, list[str]] = {
        table: [row[1] for row in plain.execute(f"PRAGMA table_info({table})")]
        for (table,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    plain.close()
    assert "account" in columns or "credential" in columns
    with Source(path, SOURCE).open() as reader:
        found = {
            table: {column for column in names if _is_readable(reader, table, column)}
            for table, names in columns.items()
        }
    assert found == {table: ALLOWED.get(table, set()) & {*columns[table]} for table in columns}


def _is_readable(reader: Reader, table: str, column: str) -> bool:
    return not is_refused(reader, f'SELECT "{column}" FROM "{table}" LIMIT 0')


@pytest.mark.parametrize("generation", [V1, V2])
def test_view_in_the_place_of_a_table_opens_nothing(
    generation: type[V1 | V2], tmp_path: Path
) -> None:
    """A view with the name of one of ours shows nothing of what lies behind it."""
    path = tmp_path / SOURCE
    fill(path, generation)
    table = "part" if generation is V1 else "session_message"
    writer = apsw.Connection(str(path))
    columns = ", ".join(f"'' AS {name}" for name in sorted(ALLOWED[table] - {"data"}))
    writer.execute(
        f"ALTER TABLE {table} RENAME TO hidden; CREATE TABLE secret (token); "
        f"CREATE VIEW {table} AS SELECT {columns}, token AS data FROM secret"
    )
    writer.close()
    with Source(path, SOURCE).open() as reader:
        assert is_refused(reader, f"SELECT data FROM {table}")
