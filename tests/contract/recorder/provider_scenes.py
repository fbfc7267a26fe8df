"""
The scenes about providers: what differs by API, and what breaks.

Each gets its next step with each request, so that an answer that broke off is
followed by another. As in `scenes`, names of scenes are markers in prompts.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from contract.recorder.dialect import Dialect
from contract.recorder.script import Call, Scene, Step, Usage

_LONG_MS: Final = 60_000
_ULID: Final = "01ARZ3NDEKTSV4RRFFQ69G5FA"
_TOO_LONG: Final = {
    "anthropic": "prompt is too long: 216850 tokens > 200000 maximum",
    "openai": "Your input exceeds the context window of this model. Please adjust your input.",
    "google": "The input token count (1200000) exceeds the maximum number of tokens allowed "
    "(1048576).",
    "compat": "This model's maximum context length is 128000 tokens. However, your messages "
    "resulted in 150000 tokens.",
}
_FILTERED: Final = {
    "anthropic": "refusal",
    "openai": "content_filter",
    "google": "SAFETY",
    "compat": "content_filter",
}
_FULL: Final = {"anthropic": "max_tokens", "openai": "max_output_tokens", "compat": "length"}
_OVER: Final = {"anthropic": "end_turn", "compat": "stop"}
_RAN: Final = {"anthropic": "web_search", "openai": "web_search", "google": "code_execution"}


def plain(d: Dialect, api: str) -> Iterator[Scene]:
    """Yield the scenes that need nothing but a prompt."""
    yield work(d)
    yield ulids(d)
    yield busy(d)
    yield overflowing(d, api)
    yield cut_twice(d, api)
    yield error_twice(d, api)
    yield unknown_word(d, api)
    yield filtered(d, api)
    if api in _OVER:
        yield stop_with_calls(d, _OVER[api])
    if api in _RAN and not (d.is_v2 and api == "google"):  # that leaves nothing of them
        yield from provider_run(d, api)


def work(d: Dialect) -> Scene:
    """Think, load a skill, work in parallel, fail once; with tokens of every type."""
    both = (d.shell("echo one", exit=0), d.read("greeting.txt"))
    used = Usage(prompt=700, completion=48, reasoning=8, cached=600)
    load = Step(thinking="Which skill?", calls=(d.skill("commit-style"),), cache_written=2000)
    steps = (
        load,
        Step(thinking="Both.", text="I look.", calls=both, usage=used, cache_written=30),
        Step(calls=(d.shell("exit 3", exit=3),), usage=used),
        Step(text="Finished.", usage=used),
    )
    return _scene("work", *steps)


def ulids(d: Dialect) -> Scene:
    """Send ids of calls that look like those of OpenCode's own rows; one of them fails."""
    wrong = Call(
        d.shell("").tool,
        {"wrong": 1},
        call_id=_ULID + "W",
        status="error",
        reason="invalid_arguments",
    )
    right = d.shell("echo fine", call_id=_ULID + "V")
    return _scene("ulids", Step(calls=(right,)), Step(calls=(wrong,)), _done())


def busy(d: Dialect) -> Scene:
    """Refuse twice in the middle of a turn, and answer then."""
    refusals = (Step(http_status=429), Step(http_status=503))
    return _scene("busy", _load(d), *refusals, _read(d), _done())


def overflowing(d: Dialect, api: str) -> Scene:
    """Say that the prompt is too long: OpenCode has to summarise the session and go on."""
    full = Step(http_status=400, message=_TOO_LONG[api])
    return _scene("overflowing", _load(d), full, _read(d), _done())


def cut_twice(d: Dialect, api: str) -> Scene:
    """Cut the connection in two answers, each after a call, and answer then."""
    return _broken_twice(d, "cut-twice", "cut", _unended(d, api, "completed"))


def error_twice(d: Dialect, api: str) -> Scene:
    """Tell of an error in two answers; 1.18 asks again within one message, before it none."""
    if api == "google":  # which takes no notice
        return _broken_twice(d, "error-twice", "error", "completed")
    scene = _broken_twice(d, "error-twice", "error", _unended(d, api, _by_error(d)))
    gives_up = d.binary.numbers < (1, 18)
    return replace(scene, outcome="failed") if gives_up else scene


def unknown_word(d: Dialect, api: str) -> Scene:
    """End an answer without calls by a word that nobody knows; 2.x may forget its tokens."""
    forgets = d.is_v2 and api == "compat"
    word = Step(text="A word.", finish="brand_new_word", forgotten=forgets)
    return _scene("unknown-word", _load(d), word, _done())


def filtered(d: Dialect, api: str) -> Scene:
    """Let a filter end an answer that has a call."""
    call = _ending(d.shell("echo filtered"), _unended(d, api, "completed"))
    step = Step(text="And", calls=(call,), finish=_FILTERED[api])
    return replace(_scene("filtered", _load(d), step, _done()), outcome="failed")


def _broken_twice(d: Dialect, name: str, how: str, status: str) -> Scene:
    half = Step(text="A half", calls=(_ending(d.shell("sleep 1"), status),), broken=how)
    return _scene(name, _load(d), half, half, _read(d), _done())


def _by_error(d: Dialect) -> str:
    """Return how a command ends that runs when the stream tells of an error."""
    return "completed" if d.is_v2 else "aborted"


def _unended(d: Dialect, api: str, otherwise: str) -> str:
    """Return how a call ends whose answer does not: 2.x waits for it in chat completions."""
    return "error" if d.is_v2 and api == "compat" else otherwise


def _ending(call: Call, status: str) -> Call:
    return replace(call, status=status, reason="other" if status == "error" else None)


def stop_with_calls(d: Dialect, word: str) -> Scene:
    """End an answer with calls by the word for the end."""
    call = Step(text="A call.", calls=(d.shell("echo stop"),), finish=word)
    return _scene("stop-with-calls", _load(d), call, _read(d), _done())


def cut_arguments(d: Dialect, api: str) -> Iterator[Scene]:
    """Reach the limit of the output in the middle of a call's arguments, where those come so."""
    if api not in _FULL:
        return
    key = "path" if d.is_v2 else "filePath"
    text = f'{{"{key}": "cut.txt", "content": "abc'
    call = Call("write", text, status="error", reason="invalid_arguments")
    waits = d.is_v2 and api == "compat"
    if d.is_v2:  # the others close what was cut, and run it
        call = replace(call, status="abandoned" if waits else "completed", reason=None)
    step = Step(text="I write.", calls=(call,), finish=_FULL[api])
    scene = _scene("cut-arguments", _load(d), step, _done())
    yield replace(scene, outcome="failed") if waits else scene


def provider_run(d: Dialect, api: str) -> Iterator[Scene]:
    """Let the provider run tools: alone, beside a call of OpenCode's, in vain, unfinished."""
    found = Call(_RAN[api], {"query": "x"}, result="found")
    failed = replace(found, result="failed", status="error", reason="other")
    if api != "anthropic":
        failed = replace(failed, status="completed", reason=None)
    with_own = Step(calls=(found, d.read("greeting.txt")))
    yield _scene(
        "provider-run",
        Step(text="I search.", calls=(found,)),
        _done(),
    )
    yield _scene("provider-ran-beside", _load(d), with_own, _done())
    yield _scene("provider-failed", _load(d), Step(text="I search.", calls=(failed,)), _done())
    if api == "anthropic":
        missing = replace(failed, result="missing")
        if not d.is_v2:  # which calls it aborted
            missing = replace(missing, status="aborted", reason=None)
        pause = Step(calls=(missing,), finish="pause_turn")
        yield _scene("provider-paused", _load(d), pause, _done())


def sleeping(d: Dialect, name: str, *, told: bool = True) -> Scene:
    """Load a skill and keep a command running; the end is not `told` where all goes at once."""
    status, outcome = ("aborted", "interrupted") if told else ("abandoned", "abandoned")
    command = d.shell(f"touch {name}.started; sleep 60", status=status)
    scene = _scene(name, _load(d), Step(calls=(command,)), _done())
    return replace(scene, outcome=outcome)


def waiting(d: Dialect, name: str) -> Scene:
    """Load a skill, and refuse for so long that the user interrupts the waiting."""
    refusal = Step(http_status=429, retry_after_ms=_LONG_MS)
    return replace(_scene(name, _load(d), *[refusal] * 6), outcome="interrupted")


def going_on(d: Dialect, name: str) -> Scene:
    """Work in a session that has ended badly."""
    return _scene(name, _read(d), _done())


def background(d: Dialect) -> tuple[Scene, Scene]:
    """Return a scene that works on beside a sub-agent, and what that plays, more slowly."""
    slow = Step(calls=(d.shell("sleep 3", exit=0),))
    child = _scene("background-child", _load(d, "release-notes"), slow, _read(d), _done())
    ask = d.subagent(child.prompt)
    assert not isinstance(ask.arguments, str)
    ask = replace(ask, arguments={**ask.arguments, "background": True})
    beside = Step(calls=(d.shell("echo beside", exit=0),))
    return _scene("background", _load(d), Step(calls=(ask,)), beside, _done()), child


def _scene(name: str, *steps: Step) -> Scene:
    return Scene(name, steps, by_request=True)


def _load(d: Dialect, skill: str = "commit-style") -> Step:
    return Step(text="Loading.", calls=(d.skill(skill),))


def _read(d: Dialect) -> Step:
    return Step(calls=(d.read("greeting.txt"),))


def _done() -> Step:
    return Step(text="Done.", usage=Usage(150, 12, 4, 50))
