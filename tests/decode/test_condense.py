"""What is left of large JSON is what was wanted of it, wherever a window ends."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_exporter.decode import condense
from opencode_exporter.decode.condense import LEFT_OUT, Leaf
from opencode_exporter.decode.opencode import wanted
from opencode_exporter.decode.opencode.v1 import shapes as v1
from opencode_exporter.decode.opencode.v2 import shapes as v2
from opencode_exporter.decode.values import Unusable, text_bytes

PIECES = ["a", "\\", '"', "\n", "\x01", "é", "€", "😀", "\ud83d", "u", "d83d", "{", "]", ","]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=120).map("".join)
NAMES = st.sampled_from(["a", "b", "é", 'q"'])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
WINDOWS = st.sampled_from([1, 2, 7, 64, 1 << 18])
ASCII = st.booleans()


def dumped(value: object, *, ascii_only: bool) -> bytes:
    """Return JSON, lone surrogates as they are in JavaScript."""
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


def reduced(data: bytes, shape: condense.Shape, window: int) -> Any:
    """Return what is left of JSON that comes in windows of that size."""
    file = io.BytesIO(data)
    left = condense.condense(lambda _: file.read(window), shape)
    return json.loads(left.decode("utf-8", "surrogatepass"))


@given(value=VALUES, window=WINDOWS, ascii_only=ASCII)
def test_what_is_wanted_stays_as_it_is(value: Any, window: int, ascii_only: bool) -> None:
    """All of it, with what is not wanted before and after it passed over."""
    given_value = {"no": value, "yes": value, "neither": value}
    data = dumped(given_value, ascii_only=ascii_only)
    left = reduced(data, {"yes": Leaf(1 << 20, nested=True)}, window)
    whole = json.loads(data.decode("utf-8", "surrogatepass"))
    assert left == {"yes": whole["yes"]}


@given(text=TEXTS, window=WINDOWS, keep=st.sampled_from([3, 8, 30]), ascii_only=ASCII)
def test_missing_bytes_of_a_text_are_counted(
    text: str, window: int, keep: int, ascii_only: bool
) -> None:
    """What stays and what is missing are together what the text had; it stays valid."""
    data = dumped({"text": text}, ascii_only=ascii_only)
    left = reduced(data, {"text": Leaf(keep, counted=True)}, window)
    whole = json.loads(data.decode("utf-8", "surrogatepass"))["text"]
    assert text_bytes(left["text"]) + left.get(f"text{LEFT_OUT}", 0) == text_bytes(whole)


@pytest.mark.parametrize(
    "data",
    [b"", b"x y", b'{"a"', b'{"a":1', b'{"a":"', b'{"a" 1}', b"[1 2]", b"{} {}", b"[" * 9999],
)
def test_what_is_no_json_is_said_to_be_none(data: bytes) -> None:
    """It ends at once, with the cause that a decoder gives."""
    with pytest.raises(Unusable, match="json"):
        condense.condense(io.BytesIO(data).read, {"a": Leaf()})


@pytest.mark.parametrize(
    ("shape", "struct"),
    [
        (wanted.PART, v1.Part),
        (wanted.MESSAGE, v1.MessageData),
        (wanted.SESSION_MESSAGE, v2.Data),
    ],
)
def test_all_that_a_decoder_asks_for_is_wanted(
    shape: dict[str, condense.Shape], struct: type[msgspec.Struct]
) -> None:
    """A field that is added to a decoder would else be missing of large rows only."""
    assert shape.keys() >= {field.encode_name for field in msgspec.structs.fields(struct)}
