"""
Programs: which known program a shell command starts.

Whatever the text holds, the answer is a name of the shipped list or ``_other``,
so no argument, path or secret can become a label.  Commands may be private:
they are neither kept nor logged.  Nothing here knows about rows or metrics,
and nothing is ever executed.
"""

import io
import re
import shlex
from collections.abc import Iterator
from typing import Final, NamedTuple

OTHER: Final = "_other"

_NAMES: Final = """
# files and text
ls cat head tail less cp mv rm mkdir rmdir touch ln chmod chown stat file find fd tree du df
realpath readlink basename dirname mktemp install rsync grep egrep rg ag sed awk cut sort uniq wc
tr tee xargs diff cmp comm patch paste seq split strings hexdump xxd od base64 md5sum sha256sum
shasum iconv jq yq xmllint bat fzf tar zip unzip gzip gunzip zcat bzip2 xz zstd 7z
# shells and what they have built in
bash sh zsh fish pwsh powershell cmd cd pushd popd echo printf pwd export set unset source alias
eval exec command type which test true false exit read wait kill trap sleep time timeout env
printenv nohup nice watch
# the system
sudo doas su ps top pgrep pkill killall lsof fuser free uptime uname hostname whoami id date man
crontab systemctl journalctl service launchctl mount open xdg-open tmux screen script strace gdb
lldb perf valgrind osascript codesign
# the network
curl wget http ssh scp sftp ssh-keygen ping dig nslookup host ip ifconfig netstat ss nc openssl gpg
grpcurl k6
# versions and forges
git gh glab hg svn jj pre-commit act
# JavaScript
node npm npx pnpm yarn bun bunx deno corepack nvm tsc tsx ts-node esbuild vite vitest jest mocha
playwright cypress eslint prettier biome webpack rollup turbo nx lerna next nuxt astro ng expo
prisma opencode
# Python
python pypy pip pipx pipenv poetry pdm uv uvx hatch conda mamba pyenv virtualenv pytest tox nox ruff
black isort flake8 pylint mypy pyright coverage twine jupyter ipython django-admin flask uvicorn
gunicorn celery alembic streamlit
# compiled languages
cargo rustc rustup rustfmt go gofmt golangci-lint dlv gcc g++ cc clang clang++ clang-format
clang-tidy ld nm objdump readelf ldd make cmake ctest ninja meson bazel pkg-config zig just task
java javac jar kotlin scala sbt mvn mvnw gradle gradlew ant lein clojure dotnet msbuild swift swiftc
xcodebuild xcrun pod fastlane adb flutter dart ghc cabal stack ocaml dune nim crystal
# other languages
ruby gem bundle rake rails rspec rubocop php composer phpunit phpstan perl lua R Rscript julia
elixir mix iex forge
# containers and clouds
docker docker-compose podman buildah kubectl helm kustomize kind minikube k3d skaffold terraform
tofu terragrunt pulumi packer vault ansible ansible-playbook aws sam cdk az gcloud gsutil firebase
heroku fly flyctl vercel netlify wrangler supabase
# databases and observation
psql pg_dump pg_restore mysql mysqldump sqlite3 duckdb redis-cli mongosh promtool prometheus
# packages and environments
apt apt-get apt-cache dpkg yum dnf rpm apk pacman brew snap nix nix-shell direnv asdf mise choco
winget
# checks, documents, media, editors
shellcheck shfmt hadolint actionlint yamllint markdownlint codespell semgrep trivy gitleaks buf
protoc pandoc pdftotext latexmk pdflatex mkdocs hugo dot convert magick ffmpeg ffprobe cloc
hyperfine ast-grep vim vi nvim nano emacs code claude codex gemini
"""
KNOWN_PROGRAMS: Final = frozenset(
    name for line in _NAMES.splitlines() if not line.startswith("#") for name in line.split()
)

_ALIASES: Final = {
    "[": "test",
    "[[": "test",
    ".": "source",
    "py": "python",
    "nodejs": "node",
    "gmake": "make",
    "gsed": "sed",
    "gawk": "awk",
    "mawk": "awk",
}


class _Wrapper(NamedTuple):
    """What a program that runs another one takes before its name."""

    takes_value: frozenset[str] = frozenset()
    operands: int = 0


_WRAPPERS: Final = {
    "sudo": _Wrapper(frozenset({"-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T", "-U", "-r", "-t"})),
    "doas": _Wrapper(frozenset({"-u", "-C"})),
    "env": _Wrapper(frozenset({"-u", "--unset", "-C", "--chdir"})),
    "nice": _Wrapper(frozenset({"-n", "--adjustment"})),
    "ionice": _Wrapper(frozenset({"-c", "-n", "--class", "--classdata"})),
    "timeout": _Wrapper(frozenset({"-s", "-k", "--signal", "--kill-after"}), operands=1),
    "gtimeout": _Wrapper(frozenset({"-s", "-k", "--signal", "--kill-after"}), operands=1),
    "time": _Wrapper(frozenset({"-f", "-o", "--format", "--output"})),
    "stdbuf": _Wrapper(frozenset({"-i", "-o", "-e"})),
    "exec": _Wrapper(frozenset({"-a"})),
    "command": _Wrapper(),
    "builtin": _Wrapper(),
    "nohup": _Wrapper(),
    "setsid": _Wrapper(),
}

# They prepare the shell for what follows and matter only when nothing does.
_PREPARATIONS: Final = frozenset(
    {"cd", "pushd", "popd", "set", "unset", "export", "declare", "typeset", "local", "readonly"}
    | {"shopt", "setopt", "source", "alias", "trap", "ulimit", "umask", "for", "exit", "return"}
)
_KEYWORDS: Final = frozenset(
    {"{", "}", "!", "if", "then", "elif", "else", "fi", "while", "until", "do", "done"}
)

# A plain first word that is none of these decides alone, without a tokenizer: the common case.
_UNDECIDED: Final = _PREPARATIONS | _KEYWORDS | _WRAPPERS.keys()
_FIRST_WORD: Final = re.compile(r"[A-Za-z_.~/][\w.~/+-]{0,200}(?=[\s;|&)]|\Z)", re.ASCII)

_LOOKED_AT: Final = 4096  # characters: the first program stands at the front
_OPERATORS: Final = "();<>|&\n"
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=", re.ASCII)
_COMMENT: Final = re.compile(
    r"""("(?:[^"\\]|\\.)*+"|'[^']*+'|\\.)|(?<![^\s;&|()])\#[^\n]*""", re.DOTALL
)
_ENDING: Final = re.compile(r"\.(?:exe|cmd|bat)\Z", re.IGNORECASE)
_VERSION: Final = re.compile(r"-?\d{1,4}(?:\.\d{1,4}){0,3}\Z", re.ASCII)


def program_of(command: object) -> str:
    """
    Name the known program that a shell command starts first.

    What stands in front of it is passed over: assignments, ``cd … &&``, and
    programs that only run another one, such as ``sudo`` and ``timeout 30``.

    Args:
        command: The text as the source has it; of any type, of any length.

    Returns:
        A member of ``KNOWN_PROGRAMS``, or ``_other``.
    """
    if not isinstance(command, str):
        return OTHER
    word = _FIRST_WORD.match(command)
    if word and (name := _base_name(word.group())) not in _UNDECIDED:
        return _known(name)
    try:
        return _first_program(_tokens(command[:_LOOKED_AT]))
    except ValueError:  # a quote left open before any program was found
        return OTHER


def _tokens(text: str) -> Iterator[str]:
    """Read, one at a time as they are asked for, unquoted words and runs of operators."""
    text = text.replace("\\\n", " ")
    if "#" in text:
        # The tokenizer would take an apostrophe in a comment for a quote.
        text = _COMMENT.sub(lambda found: found[1] or "", text)
    lexer = shlex.shlex(io.StringIO(text), posix=True, punctuation_chars=_OPERATORS)
    lexer.commenters = ""
    lexer.whitespace = " \t\r\f\v"  # a new line separates commands, so it is an operator here
    lexer.whitespace_split = True
    return iter(lexer)


def _first_program(tokens: Iterator[str]) -> str:
    """Walk over commands until one of them is more than a preparation."""
    last = OTHER
    for token in tokens:
        if _is_redirection(token):
            next(tokens, None)
        elif not (_is_operator(token) or _passed_over(token)):
            name = _base_name(token)
            if name in _WRAPPERS:
                name, ended = _wrapped(name, tokens)
                if ended or name not in _PREPARATIONS:
                    return _known(name)
            if name not in _PREPARATIONS:
                return _known(name)
            last = _known(name)
            _skip_command(tokens)
    return last


def _wrapped(wrapper: str, tokens: Iterator[str]) -> tuple[str, bool]:
    """Return what a wrapper runs, or the last wrapper itself when its command has ended."""
    left = _WRAPPERS[wrapper].operands
    for token in tokens:
        if _is_redirection(token) or token in _WRAPPERS[wrapper].takes_value:
            next(tokens, None)
        elif _is_operator(token):
            return wrapper, True
        elif left and not token.startswith("-"):
            left -= 1
        elif token.startswith("-") or _passed_over(token):
            continue
        elif (name := _base_name(token)) in _WRAPPERS:
            wrapper, left = name, _WRAPPERS[name].operands
        else:
            return name, False
    return wrapper, True


def _skip_command(tokens: Iterator[str]) -> None:
    for token in tokens:
        if _is_operator(token) and not _is_redirection(token):
            return


def _passed_over(word: str) -> bool:
    # A number is what stands in 2>file: no program has such a name.
    return word in _KEYWORDS or word.isdigit() or _ASSIGNMENT.match(word) is not None


def _is_operator(token: str) -> bool:
    return token[:1] in _OPERATORS and token != ""


def _is_redirection(token: str) -> bool:
    return _is_operator(token) and ("<" in token or ">" in token)


def _base_name(word: str) -> str:
    """Reduce ``/usr/bin/python3.11`` and ``python.exe`` to ``python``."""
    name = word.rpartition("/")[2]
    name = _ALIASES.get(name, name)
    if name not in KNOWN_PROGRAMS:
        name = _ENDING.sub("", name)
    if name not in KNOWN_PROGRAMS:
        name = _VERSION.sub("", name)
    return _ALIASES.get(name, name)


def _known(name: str) -> str:
    return name if name in KNOWN_PROGRAMS else OTHER
