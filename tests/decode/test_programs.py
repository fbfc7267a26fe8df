"""Claims about ``program_of``: the right name, and never anything but a shipped name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_exporter.decode.programs import KNOWN_PROGRAMS, OTHER, program_of


def named(*texts: str) -> list[object]:
    """Return each text as a case that is its own name."""
    return [pytest.param(text, id=text.replace("\n", "⏎")[:60]) for text in texts]


@pytest.mark.parametrize(
    "command",
    named(
        "git",
        "git status",
        "  git status",
        "git\tstatus",
        "git|cat",
        "git;ls",
        "git&",
        "git>out",
        "\n\ngit status",
        "# look first\ngit status",
        "# don't touch\n  # the index\n\ngit status",
        "/usr/bin/git status",
        "~/bin/git status",
        "$HOME/bin/git status",
        '"$TOOLS/git" status',
        "'git' status",
        "git.exe status",
        "git.EXE status",
        "git.cmd status",
        "\\git status",
    ),
)
def test_plain_command_gives_its_program(command: str) -> None:
    """The first word names the program, whatever its path, quotes, ending or leading comment."""
    assert program_of(command) == "git"


@pytest.mark.parametrize(
    "command",
    named(
        "FOO=1 git status",
        "FOO=\"a b\" BAR='c; d' git status",
        "FOO= git status",
        "A[0]=x B+=y git status",
        "FOO=a#b git status",
        "FOO=`date` git status",
        "env FOO=1 git status",
        "env -i -u HOME FOO=1 git status",
        "sudo git status",
        "sudo -n -u root FOO=1 git status",
        "sudo -- git status",
        "doas -u root git status",
        "nohup git fetch &",
        "time git status",
        "time -p git status",
        "timeout 30 git fetch",
        "timeout -s KILL -k 5 30s git fetch",
        "timeout --signal=KILL 30 git fetch",
        "sudo timeout 30 nice -n 10 git gc",
        "command git status",
        "exec git status",
        "exec -a name git status",
        "stdbuf -oL git log",
        "cd /repo && git status",
        "cd /repo; git status",
        "cd /repo\ngit status",
        "cd /repo \\\n  && git status",
        'cd "/a b/c" && cd d && git status',
        "cd /repo >/dev/null 2>&1 && git status",
        "cd /repo || exit 1; git status",
        "cd /repo # it's here\ngit status",
        "pushd x && git status && popd",
        "set -e; git status",
        "set -euo pipefail\n\ngit status",
        "export X=y && git status",
        'export PATH="$PATH:/x"; unset Y; git status',
        "source .venv/bin/activate && git status",
        ". .venv/bin/activate && git status",
        "(git status)",
        "( cd x && git status )",
        "{ git status; }",
        "! git diff --quiet",
        "if git diff --quiet; then echo same; fi",
        "while ! git pull; do sleep 1; done",
        "for f in a b; do git add $f; done",
        "X=$(git rev-parse HEAD) && echo $X",
        ">out.txt git status",
        "2>/dev/null git status",
        "time { git status; }",
    ),
)
def test_what_stands_before_the_program_is_passed_over(command: str) -> None:
    """Assignments, wrappers, preparations, brackets and redirections are not the program."""
    assert program_of(command) == "git"


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("python3.11 -m pytest", "python"),
        ("python3 x.py", "python"),
        ("/opt/python/bin/python3.12.exe x.py", "python"),
        ("py x.py", "python"),
        ("pip3 install x", "pip"),
        ("pip3.12 install x", "pip"),
        ("g++-13 a.cc", "g++"),
        ("clang-18 a.c", "clang"),
        ("nodejs x.js", "node"),
        ("npm.cmd test", "npm"),
        ("./gradlew build", "gradlew"),
        (".venv/bin/pytest -q", "pytest"),
        ("node_modules/.bin/eslint .", "eslint"),
        ("7z x a.7z", "7z"),
        ("base64 -d", "base64"),
        ("sqlite3 a.db", "sqlite3"),
        ("[ -f x ] && git add x", "test"),
        ("[[ -f x ]] && git add x", "test"),
        ("gsed -i s/a/b/ x", "sed"),
        ("cat <<'EOF' > x\nit's\nEOF", "cat"),
        ('grep -r "it\'s" . | head', "grep"),
        ("uv run pytest", "uv"),
        ("bash -c 'git status'", "bash"),
        ("ls | xargs git add", "ls"),
    ],
)
def test_names_are_normalised(command: str, program: str) -> None:
    """Versions, endings and aliases fold into one name, digits that belong to a name stay."""
    assert program_of(command) == program


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("cd /repo", "cd"),
        ("cd /repo && export X=y", "export"),
        ("env | grep TOKEN", "env"),
        ("env", "env"),
        ("sudo -v", "sudo"),
        ("timeout 30", "timeout"),
        ("source x.sh", "source"),
        ("time sudo -v; git status", "sudo"),
        ("command cd /repo && git status", "git"),
    ],
)
def test_preparation_or_wrapper_alone_is_the_program(command: str, program: str) -> None:
    """What is passed over in front of a program counts itself when no program follows it."""
    assert program_of(command) == program


@pytest.mark.parametrize(
    "command",
    [
        None,
        7,
        b"git status",
        ["git"],
        "",
        "   \n\t ",
        "# only a comment",
        "frobnicate --all",
        "./build.sh",
        "/home/alice/secret-tool x",
        "$CMD x",
        "SECRET=x",
        "'git status",
        'FOO="a b git status',
        'cd "x && git status',
        "git' status'",
        "git\\",
        "git=1",
        "git.py",
        "gitk-secret",
        "&&",
        ";;\n;;",
        "FOO=" + "x" * 5000 + " git status",
        "case $x in a) git;; esac",
    ],
)
def test_everything_else_is_other(command: object) -> None:
    """No text, no known program, or a quote left open in front of it: ``_other``."""
    assert program_of(command) == OTHER


@pytest.mark.parametrize(
    "command",
    named(
        "SECRET=x aws s3 ls",
        "SECRET='x y' AWS_PROFILE=p /usr/local/bin/aws s3 ls",
        "export SECRET=x; aws s3 ls",
        "env SECRET=x aws s3 ls",
        "cd ~/secret && SECRET=x aws s3 ls",
    ),
)
def test_secret_before_the_program_never_shows(command: str) -> None:
    """A secret in an assignment leaves only the program behind."""
    assert program_of(command) == "aws"


@given(st.text())
def test_any_text_gives_a_shipped_name(command: str) -> None:
    """Whatever the text, the answer is of the shipped list or ``_other``."""
    assert program_of(command) in KNOWN_PROGRAMS | {OTHER}


PIECES = st.sampled_from(
    [
        *"'\"\\#()[]{};&|<>=$`!\n \t-",
        "&&",
        "cd ",
        "sudo ",
        "env ",
        "FOO=",
        "timeout 5 ",
        "-u ",
        "git",
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=40))
def test_any_shell_like_text_gives_a_shipped_name(pieces: list[str]) -> None:
    """Text made of what shells treat specially gives a shipped name too, and never an error."""
    assert program_of("".join(pieces)) in KNOWN_PROGRAMS | {OTHER}


PREFIXES = st.lists(
    st.sampled_from(
        ["A=1 ", 'B="x y" ', "sudo ", "env C=2 ", "nohup ", "time ", "timeout 9 ", "nice -n 5 "]
    ),
    max_size=5,
)


@given(
    st.sampled_from(["", "cd /a && ", "set -e; ", "export D=3\n", "# note\n", "("]),
    PREFIXES,
    st.sampled_from(["git", "npm", "cargo", "7z", "docker-compose", "g++"]),
    st.sampled_from(["", " x", " 'y z'", " | cat", "\nls"]),
)
def test_prefixes_combine(start: str, prefixes: list[str], program: str, rest: str) -> None:
    """Any sequence of prefixes leads to the program behind them."""
    assert program_of(start + "".join(prefixes) + program + rest) == program


@given(st.text(min_size=1, max_size=30), st.integers(min_value=4096, max_value=20_000))
def test_only_the_front_is_read(filler: str, length: int) -> None:
    """A program behind 4096 characters is not found, however the text before it looks."""
    text = "#" + filler.replace("\n", " ") * length
    assert program_of(text + "\ngit status") == OTHER


def test_list_holds_plain_names_only() -> None:
    """Each shipped name is one word without a path, so it can be a label as it is."""
    assert len(KNOWN_PROGRAMS) > 200
    for name in KNOWN_PROGRAMS:
        assert name.isprintable()
        assert "/" not in name
        assert program_of(name) == name
