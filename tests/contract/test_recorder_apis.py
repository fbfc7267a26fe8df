"""The scripted model speaks the four APIs: requests are understood, answers have their form."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from contract.recorder.apis import APIS, Api, spoken
from contract.recorder.model import ScriptedModel
from contract.recorder.script import Call, Scene, Step, Usage
from harness.waiting import PATIENCE_S

PATHS = {
    "anthropic": "/scripted/v1/messages",
    "openai": "/scripted/v1/responses",
    "google": "/scripted/v1/models/scripted-model:streamGenerateContent?alt=sse",
    "compat": "/scripted/v1/chat/completions",
}
USAGE = Usage(prompt=700, completion=48, reasoning=8, cached=600)
ASKED = Call("bash", {"command": "ls"})
STEP = Step(thinking="Hm.", text="I look.", calls=(ASKED,), usage=USAGE, cache_written=30)


def request(api: str, prompt: str) -> dict[str, Any]:
    """Return how OpenCode asks for an answer to a prompt."""
    said = {"role": "user", "content": [{"type": "text", "text": prompt}]}
    if api == "google":
        return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "tools": [{}]}
    key = "input" if api == "openai" else "messages"
    return {"model": "scripted-model", key: [said], "tools": [{}]}


def ask(model: ScriptedModel, api: str, prompt: str) -> list[Any]:
    """Return the events that answer a prompt."""
    body = json.dumps(request(api, prompt)).encode()
    with urllib.request.urlopen(model.url + PATHS[api], body, timeout=PATIENCE_S) as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()
    told = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(line) for line in told if line != "[DONE]"]


def found(events: list[Any], key: str) -> list[Any]:
    """Return every value of a key, however deep it stands."""
    values: list[Any] = []
    nodes = list(events)
    while nodes:
        node = nodes.pop(0)
        if isinstance(node, dict):
            values += [node[key]] if key in node else []
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
    return values


@pytest.fixture(params=sorted(APIS))
def api(request: pytest.FixtureRequest) -> str:
    """One API after the other."""
    return str(request.param)


def test_api_is_known_by_its_path(api: str) -> None:
    """The last folder of a path tells how to speak."""
    assert spoken(PATHS[api].partition("?")[0]) is APIS[api]


def test_answer_names_the_call(api: str) -> None:
    """The call that the step issues is in the stream, and noted as issued."""
    with ScriptedModel() as model:
        model.add(Scene("one", (STEP,)))
        events = ask(model, api, "Please play [[one]]")
        assert "bash" in found(events, "name")
        assert [one.call for one in model.issued] == [ASKED]
        assert [(one.provider, one.model) for one in model.requests] == [
            ("scripted", "scripted-model")
        ]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("anthropic", {"input_tokens": 100, "cache_read_input_tokens": 600, "output_tokens": 48}),
        ("anthropic", {"cache_creation_input_tokens": 30}),
        ("openai", {"input_tokens": 700, "cached_tokens": 600, "output_tokens": 48}),
        ("openai", {"reasoning_tokens": 8}),
        ("google", {"promptTokenCount": 700, "cachedContentTokenCount": 600}),
        ("google", {"candidatesTokenCount": 40, "thoughtsTokenCount": 8}),
        ("compat", {"prompt_tokens": 700, "cached_tokens": 600, "completion_tokens": 48}),
        ("compat", {"reasoning_tokens": 8}),
    ],
)
def test_usage_is_told_in_the_words_of_the_api(name: str, counts: dict[str, int]) -> None:
    """What is part of what differs by vendor."""
    with ScriptedModel() as model:
        model.add(Scene("one", (STEP,)))
        events = ask(model, name, "[[one]]")
    events.reverse()  # what is told last holds
    assert {
        key: next(one for event in events for one in found([event], key)) for key in counts
    } == counts


@pytest.mark.parametrize("broken", ["cut", "error"])
def test_broken_answer_has_no_end(api: str, broken: str) -> None:
    """A stream that breaks off tells neither a word nor, but for its beginning, a usage."""
    whole = Scene("whole", (STEP,), by_request=True)
    half = Scene("half", (Step(calls=(ASKED,), broken=broken), STEP), by_request=True)
    with ScriptedModel() as model:
        model.add(whole, half)
        ending = ask(model, api, "[[whole]]")[-1]
        events = ask(model, api, "[[half]]")
        assert ending not in events
        assert (events[-1] == APIS[api].fault[1]) == (broken == "error")
        assert ask(model, api, "[[half]]")[-1] == ending


def test_refusal_has_the_body_of_the_api(api: str) -> None:
    """A failed request tells its message, and when to ask again."""
    with ScriptedModel() as model:
        model.add(Scene("busy", (Step(http_status=429, message="Slow down"),)))
        with pytest.raises(urllib.error.HTTPError) as failed:
            ask(model, api, "[[busy]]")
        with failed.value as answer:
            assert json.loads(answer.read())["error"]["message"] == "Slow down"
            assert answer.headers["retry-after-ms"] == "100"


def test_each_request_gets_the_next_step(api: str) -> None:
    """A scene by request goes on although the messages say the same."""
    steps = tuple(Step(text=text) for text in ("first", "second"))
    with ScriptedModel() as model:
        model.add(Scene("steps", steps, by_request=True))
        for text in ("first", "second", "Done."):
            assert text in json.dumps(ask(model, api, "[[steps]]"))


@pytest.mark.parametrize("result", ["found", "failed"])
@pytest.mark.parametrize("name", ["anthropic", "openai", "google"])
def test_provider_tells_what_came_of_its_own_tool(name: str, result: str) -> None:
    """A tool that the provider runs comes with its result, and asks OpenCode for nothing."""
    call = Call("web_search", {"query": "x"}, result=result)
    with ScriptedModel() as model:
        model.add(Scene("ran", (Step(calls=(call,)),)))
        events = ask(model, name, "[[ran]]")
    told: Api = APIS[name]
    assert told.npm.startswith("@ai-sdk/")
    text = json.dumps(events)
    assert not {"tool_use", "function_call", "functionCall"} & set(found(events, "type"))
    assert "functionCall" not in text
    expected = {
        "anthropic": {"found": "web_search_result", "failed": "max_uses_exceeded"},
        "openai": {"found": "completed", "failed": "failed"},
        "google": {"found": "OUTCOME_OK", "failed": "OUTCOME_FAILED"},
    }
    assert f'"{expected[name][result]}"' in text
