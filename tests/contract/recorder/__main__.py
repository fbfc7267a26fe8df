"""
The command line of the recorder.

`PYTHONPATH=tests python -m contract.recorder record --version 1.18.33 --out FOLDER`
makes a recording, `fetch` the executables, `schema` prints a fresh database's
DDL. It holds no logic of its own.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import apsw

from contract.recorder.apis import APIS
from contract.recorder.binaries import VERSIONS, fetch
from contract.recorder.dialect import Dialect
from contract.recorder.opencode import Sandbox
from contract.recorder.provider_recording import record_provider, record_provider_upgrade
from contract.recorder.recording import record, record_upgrade
from contract.recorder.scenes import bulk
from contract.recorder.turn_recording import record_turns, record_turns_upgrade

_OLD, _NEW = "1.18.33", "2.0.15"


def main() -> None:
    """Run the command that the arguments name."""
    arguments = _parser().parse_args()
    if arguments.command == "fetch":
        for version in VERSIONS:
            sys.stdout.write(f"{fetch(version).path}\n")
    elif arguments.command == "schema":
        sys.stdout.write(_schema(arguments.version))
    elif arguments.command == "record":
        one = record_turns if arguments.turns else record
        one(fetch(arguments.version), arguments.out)
    elif arguments.command == "upgrade":
        both = record_turns_upgrade if arguments.turns else record_upgrade
        both(fetch(_OLD), fetch(_NEW), arguments.out)
    elif arguments.upgrade:
        old, new = fetch(arguments.version), fetch(arguments.upgrade)
        record_provider_upgrade(old, new, arguments.api, arguments.out)
    else:
        record_provider(fetch(arguments.version), arguments.api, arguments.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="fetch the executables of all versions")
    schema = commands.add_parser("schema", help="print the DDL of a fresh database")
    schema.add_argument("--version", choices=VERSIONS, required=True)
    recorder = commands.add_parser("record", help="record one version")
    recorder.add_argument("--version", choices=VERSIONS, required=True)
    recorder.add_argument("--out", type=Path, required=True)
    upgrade = commands.add_parser("upgrade", help=f"record {_OLD}, {_NEW}, {_OLD}")
    upgrade.add_argument("--out", type=Path, required=True)
    for command in (recorder, upgrade):
        command.add_argument("--turns", action="store_true", help="the scenes about turns")
    provider = commands.add_parser("provider", help="record one version behind one API")
    provider.add_argument("--api", choices=sorted(APIS), required=True)
    provider.add_argument("--version", choices=VERSIONS, required=True)
    provider.add_argument("--upgrade", choices=VERSIONS, help="and import it with this one")
    provider.add_argument("--out", type=Path, required=True)
    return parser


def _schema(version: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        with Sandbox(fetch(version), Path(folder)) as sandbox:
            sandbox.run(bulk(Dialect(sandbox.binary, sandbox.project), "fresh", 1))
            database = sandbox.database
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
        rows = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, name"
        )
        text = "".join(f"{sql};\n" for (sql,) in rows)
        connection.close()
    return text


if __name__ == "__main__":
    main()
