"""
YAML as js-yaml 3 reads it, which is not quite as PyYAML does.

Tabs are white space, lines end with ASCII's line breaks only, a key may not come
twice at any depth, unknown tags are errors, and what a plain scalar is follows
other rules.  Knows nothing of what the texts mean.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import yaml

_TAG: Final = "tag:yaml.org,2002:"
_TEXT: Final = _TAG + "str"
_MERGE: Final = _TAG + "merge"
_SCALARS: Final = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(
        r"[-+]?(?:0b_*[01](?:[01_]*[01])?|0x_*[0-9a-fA-F](?:[0-9a-fA-F_]*[0-9a-fA-F])?"
        r"|0_*[0-7](?:[0-7_]*[0-7])?|0|[1-9](?:[0-9_]*[0-9])?|[1-9][0-9_]*(?::[0-5]?[0-9])+)"
    ),
    "float": re.compile(
        r"(?:[-+]?(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
        r"|\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))(?<!_)"
    ),
    "timestamp": re.compile(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}"
        r":[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?"
    ),
    "merge": re.compile("<<"),
}
_TEXTS: Final = {_TEXT, _MERGE, "!"}
_OPAQUE: Final = {_TEXT, _TAG + "binary", "!"}
_SEQUENCES: Final = {_TAG + "seq", _TAG + "omap", _TAG + "pairs", "!"}
_MAPPINGS: Final = {_TAG + "map", _TAG + "set", "!"}
_Word = TypeVar("_Word", yaml.AnchorToken, yaml.AliasToken)
_Collection = TypeVar("_Collection", yaml.SequenceNode, yaml.MappingNode)
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
# PyYAML ends lines there; a private character stands for them, as none can be in a label.
_OTHER_BREAKS: Final = str.maketrans(dict.fromkeys("\x85\u2028\u2029", "\ue000"))
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_TABS_AFTER_HEADER: Final = re.compile(r"(?<=[|>+0-9-])[ \t]+(?=\r?\n)")
_DEEPEST: Final = 200
_MOST_NODES: Final = 10_000  # half a second
_END_OF_WORD: Final = "\0 \t\r\n"
_FLOW: Final = ",[]{}"
_NEVER_FIRST: Final = _END_OF_WORD + _FLOW + "#&*!|>'\"%@`"


def text_of(node: yaml.Node | None) -> str | None:
    """Return the text of a node, None if it is a number, a date, a list or the like."""
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _TEXTS:
        return None
    # Two escapes make one character, as in JSON.
    return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Scanner(yaml.SafeLoader):
    """Finds tokens as js-yaml does: with tabs, and with keys of any length."""

    def scan_to_next_token(self) -> None:
        """Skip white space, line breaks and comments."""
        while True:
            self._skip_blanks()
            if self.peek() == "#":
                while self.peek() not in "\0\r\n":
                    self.forward()
            if not self._ends_line():
                return
            if not self.flow_level:
                self.allow_simple_key = True

    def _ends_line(self) -> bool:
        return bool(self.scan_line_break())  # type: ignore[no-untyped-call]

    def _skip_blanks(self) -> None:
        """Skip spaces and tabs; a tab does not indent, so it ends blocks but starts deeper ones."""
        at_line_start = self.column == 0
        while self.peek() == " ":
            self.forward()
        spaces = self.column
        while self.peek() in " \t":
            self.forward()
        if at_line_start and spaces <= self.indent:
            self.column = spaces

    def stale_possible_simple_keys(self) -> None:
        """Forget what stood on earlier lines and can be no key any more."""
        if len(self.possible_simple_keys) > _DEEPEST:  # each is looked at for every token
            raise yaml.YAMLError("too deep")
        for level, key in list(self.possible_simple_keys.items()):
            if key.line != self.line:
                if key.required:
                    raise yaml.YAMLError("key without a colon")
                del self.possible_simple_keys[level]

    def fetch_flow_scalar(self, style: str) -> None:
        """Fetch a quoted scalar; the next key may follow it on its line."""
        super().fetch_flow_scalar(style)
        self._skip_blanks()
        if not self.flow_level and self.peek() not in ":#\0\r\n":
            self.allow_simple_key = True
            self.column = max(self.indent, 0)

    def scan_anchor(self, kind: type[_Word]) -> _Word:
        """Scan the name of an anchor or an alias, which may have any characters."""
        begin = self.get_mark()
        self.forward()
        length = 0
        while self.peek(length) not in _END_OF_WORD + _FLOW:
            length += 1
        if not length:
            raise yaml.YAMLError("anchor without a name")
        name = self.prefix(length)
        self.forward(length)
        return kind(name, begin, self.get_mark())

    def check_plain(self) -> bool:
        """Return whether a plain scalar begins here."""
        first, after = self.peek(), self.peek(1)
        if first in "-?:":
            return after not in _END_OF_WORD and not (self.flow_level and after in _FLOW)
        return first not in _NEVER_FIRST

    def scan_plain(self) -> yaml.ScalarToken:
        """Scan a plain scalar, over several lines if they are indented."""
        texts: list[str] = []
        blanks: list[str] | None = []
        begin = end = self.get_mark()
        while self.peek() != "#" and (length := self._plain_length()):
            self.allow_simple_key = False
            texts += [*(blanks or ()), self.prefix(length)]
            self.forward(length)
            end = self.get_mark()
            blanks = self._blanks()
            if not blanks or self.column <= self.indent:
                break
        return yaml.ScalarToken("".join(texts), True, begin, end)

    def _plain_length(self) -> int:
        length = 0
        while (char := self.peek(length)) not in _END_OF_WORD:
            after = self.peek(length + 1) if char == ":" else ""
            if after and (after in _END_OF_WORD or (self.flow_level and after in _FLOW)):
                break
            if self.flow_level and char in _FLOW:
                break
            length += 1
        return length

    def _blanks(self) -> list[str] | None:
        """Return what stands for the white space after a word; None at the end of the document."""
        length = 0
        while self.peek(length) in " \t":
            length += 1
        blanks = self.prefix(length)
        self.forward(length)
        if self.peek() not in "\r\n":
            return [blanks] if blanks else []
        breaks = 0
        while self._ends_line():
            self.allow_simple_key = True
            breaks += 1
            if self.prefix(3) in ("---", "...") and self.peek(3) in _END_OF_WORD:
                return None
            self._skip_blanks()
        return ["\n" * (breaks - 1) or " "]

    def scan_block_scalar_ignored_line(self, start_mark: yaml.Mark) -> None:
        """Skip what may follow ``|`` and ``>``."""
        while self.peek() in " \t":
            self.forward()
        super().scan_block_scalar_ignored_line(start_mark)


class JsYamlLoader(_Scanner):
    """Composes nodes as js-yaml would, and raises ``YAMLError`` where it would."""

    def __init__(self, text: str) -> None:
        if "\0" in text:
            raise yaml.YAMLError("null byte")
        text = _TABS_AFTER_HEADER.sub("", text.translate(_OTHER_BREAKS))
        self._text = text if text.endswith(("\n", "\r")) else text + "\n"
        self._nodes = 0
        super().__init__(self._text)

    def check_printable(self, data: str) -> None:
        """Do nothing: comments may hold anything; scalars are checked when they are composed."""

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: object) -> str:
        """Return the tag of a node that has none."""
        if kind is not yaml.ScalarNode:
            return _TAG + ("seq" if kind is yaml.SequenceNode else "map")
        is_plain = isinstance(implicit, tuple) and bool(implicit[0])
        if not is_plain or value is None:
            return _TEXT
        return next(
            (_TAG + name for name, form in _SCALARS.items() if form.fullmatch(value)), _TEXT
        )

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node; its anchor may be that of an earlier one."""
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise yaml.YAMLError("too much")
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """Compose a scalar whose characters and tag are allowed."""
        node = super().compose_scalar_node(anchor)
        raw = self._text[node.start_mark.index : node.end_mark.index]
        if (_CONTROL if node.style == '"' else _UNPRINTABLE).search(raw):
            raise yaml.YAMLError("unprintable character")
        form = _SCALARS.get(node.tag.removeprefix(_TAG))
        if node.tag not in _OPAQUE and not (form and form.fullmatch(node.value)):
            raise yaml.YAMLError("tag does not fit")
        return node

    def compose_sequence_node(self, anchor: Any) -> yaml.SequenceNode:
        """Compose a sequence whose tag is known."""
        return _tagged(super().compose_sequence_node(anchor), _SEQUENCES)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping whose keys are all different and whose tag is known."""
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if _is_named(key)]
        if len(set(keys)) < len(keys):
            raise yaml.YAMLError("key comes twice")
        for key, value in node.value:
            if is_merge(key) and not all(map(_is_collection, merged(value))):
                raise yaml.YAMLError("only mappings can be merged")
        return _tagged(node, _MAPPINGS)


def is_merge(key: yaml.Node) -> bool:
    """Return whether the value of a key is a mapping that is merged into the one around it."""
    return key.tag == _MERGE


def merged(value: yaml.Node) -> list[yaml.Node]:
    """Return the nodes that a merge key names, the one that wins first."""
    return list(value.value) if isinstance(value, yaml.SequenceNode) else [value]


def _is_named(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and not is_merge(key)


def _is_collection(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode)


def _tagged(node: _Collection, tags: set[str]) -> _Collection:
    if node.tag not in tags:
        raise yaml.YAMLError("unknown tag")
    return node
