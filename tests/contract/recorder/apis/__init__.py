"""
The four provider APIs that the scripted model speaks, each in the manner of its vendor.

A module of this package turns a step of a scene into the events of a stream,
and a request into the texts of its messages. It knows nothing about scenes'
order, sockets or OpenCode.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from contract.recorder.apis import anthropic, chat, gemini, responses
from contract.recorder.script import Event, Issued, Step

_Answer = Callable[[Step, tuple[Issued, ...], str], Iterator[Event]]


@dataclass(frozen=True, slots=True)
class Api:
    """
    How one API is spoken.

    Attributes:
        npm: The package with which OpenCode speaks it.
        answer: Yields what an answer holds.
        ending: Yields how a whole answer ends: its word and its usage.
        fault: What tells of an error inside the stream.
        error: Makes the body of a failed request from its status and message.
        texts: Returns role and text of every message of a request.
    """

    npm: str
    answer: _Answer
    ending: _Answer
    fault: Event
    error: Callable[[int, str], dict[str, Any]]
    texts: Callable[[dict[str, Any]], list[tuple[str, str]]]

    def events(self, step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[Event]:
        """Yield the events of an answer, as far as it goes."""
        yield from self.answer(step, calls, model)
        if step.broken == "error":
            yield self.fault
        elif not step.broken:
            yield from self.ending(step, calls, model)


APIS = {
    name: Api(module.NPM, module.answer, module.ending, module.FAULT, module.error, module.texts)
    for name, module in (
        ("anthropic", anthropic),
        ("openai", responses),
        ("google", gemini),
        ("compat", chat),
    )
}


def spoken(path: str) -> Api:
    """Return the API that a path belongs to."""
    if path.endswith("/messages"):
        return APIS["anthropic"]
    if path.endswith("/responses"):
        return APIS["openai"]
    return APIS["google" if ":streamGenerateContent" in path else "compat"]
