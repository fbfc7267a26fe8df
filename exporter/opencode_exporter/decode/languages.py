"""
Languages of files, told from their names alone.

A shipped table, so that the values of the label are few and known beforehand.
The names are those of GitHub's linguist, in lower case.
"""

from __future__ import annotations

from typing import Final

OTHER: Final = "other"

_ENDINGS: Final = {
    "c": "c h",
    "c#": "cs csx",
    "c++": "cc cpp cxx c++ hh hpp hxx ipp tpp",
    "clojure": "clj cljc cljs edn",
    "css": "css",
    "csv": "csv tsv",
    "dart": "dart",
    "dockerfile": "dockerfile containerfile",
    "elixir": "ex exs",
    "go": "go",
    "graphql": "graphql gql",
    "groovy": "groovy gradle",
    "haskell": "hs lhs",
    "hcl": "hcl tf tfvars",
    "html": "html htm xhtml",
    "ini": "ini cfg conf properties editorconfig",
    "java": "java",
    "javascript": "js cjs mjs jsx",
    "json": "json jsonc json5 jsonl ndjson geojson webmanifest",
    "jupyter notebook": "ipynb",
    "kotlin": "kt kts",
    "lua": "lua",
    "makefile": "mk mak make",
    "markdown": "md mdx markdown mkd",
    "nix": "nix",
    "ocaml": "ml mli",
    "perl": "pl pm",
    "php": "php phtml",
    "powershell": "ps1 psm1 psd1",
    "python": "py pyi pyw pyx",
    "r": "r rmd",
    "ruby": "rb rake gemspec erb",
    "rust": "rs",
    "scala": "scala sbt sc",
    "scss": "scss sass less",
    "shell": "sh bash zsh fish ksh bats",
    "sql": "sql",
    "svelte": "svelte",
    "swift": "swift",
    "text": "txt text log rst adoc",
    "toml": "toml",
    "typescript": "ts tsx cts mts",
    "vue": "vue",
    "xml": "xml xsd xsl xslt svg plist csproj",
    "yaml": "yaml yml",
    "zig": "zig",
}

_WHOLE: Final = {
    ".bashrc": "shell",
    ".profile": "shell",
    ".zshrc": "shell",
    "cargo.lock": "toml",
    "containerfile": "dockerfile",
    "dockerfile": "dockerfile",
    "gemfile": "ruby",
    "gnumakefile": "makefile",
    "go.mod": "go",
    "jenkinsfile": "groovy",
    "license": "text",
    "makefile": "makefile",
    "pipfile": "toml",
    "rakefile": "ruby",
    "readme": "text",
    "uv.lock": "toml",
}

_BY_ENDING: Final = {
    ending: language for language, endings in _ENDINGS.items() for ending in endings.split()
}

LANGUAGES: Final = frozenset({*_ENDINGS, OTHER})
"""All values that `language_of` can return."""


def language_of(path: str) -> str:
    """Return the language of a file, ``other`` for what the table does not know."""
    name = path[max(path.rfind("/"), path.rfind("\\")) + 1 :].lower()
    known = _WHOLE.get(name)
    if known is not None:
        return known
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem:  # a name that begins with its only dot has no ending
        return OTHER
    return _BY_ENDING.get(ending, OTHER)
