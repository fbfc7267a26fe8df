"""
The soak: hours of work in minutes, with everything that goes wrong.

Writers of both generations share one database and do at random what OpenCode
does; writers and exporter are killed at random; pages are fetched all the time
and held against what the writers say they did.  A violation is printed with its
moment, and the exit code is 1.

    python tests/soak/run.py --minutes 60 --writers 3 --seed 7
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from soak.controller import Plan, Soak, number
from soak.place import Place


def flags() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=1, help="default: %(default)s")
    parser.add_argument("--writers", type=int, default=3, help="processes (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of all choices (default: another each time)")
    parser.add_argument(
        "--rate", type=float, default=150, help="moves a second, of all (default: %(default)s)"
    )
    parser.add_argument("--dir", type=Path, help="an empty directory, which is kept")
    parser.add_argument(
        "--spoil", action="store_true", help="make the truth wrong at the end: it has to fail"
    )
    return parser.parse_args()


def say(sentence: str) -> None:
    """Print a line at once."""
    print(sentence, flush=True)  # noqa: T201


def main() -> int:
    """Run, and say how it went."""
    given = flags()
    seed = random.randrange(1 << 32) if given.seed is None else given.seed  # noqa: S311
    say(f"seed {seed}")
    with ExitStack() as later:
        directory = given.dir or Path(later.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(parents=True, exist_ok=True)
        plan = Plan(given.minutes * 60, given.writers, seed, given.rate, given.spoil)
        soak = Soak(Place(directory), plan, say)
        soak.run()
    scraper = soak.scraper
    say(
        f"{number(scraper.equal)} comparisons with nobody writing, "
        f"{number(scraper.truth.settled)} calls, {number(soak.writers.killed)} writers killed, "
        f"{number(scraper.truth.lost)} transactions lost in that, {number(soak.quiets)} last "
        f"closes, {number(scraper.behind)} pages behind, {number(scraper.down)} down, "
        f"{number(scraper.adding.born)} series that a server saw begin"
    )
    say(f"{soak.usage}; slowest end at SIGTERM {soak.slowest_end:.2f} s")
    say(f"soak: {given.minutes:.1f} min, {given.writers} writers, {soak.progress}")
    return 1 if soak.violations.found else 0


if __name__ == "__main__":
    sys.exit(main())
