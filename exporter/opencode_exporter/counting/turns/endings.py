"""
Endings: whether a step ends its turn, and how the turn ended.

Pure.  OpenCode 1.x stops after a step by its own loop's rule, which looks at the calls
before the word: providers end steps that hold calls with ``stop``, too.  Its steps tell
the end of their turn; of those of 2.x a remark does.
"""

from __future__ import annotations

from typing import Final

from opencode_exporter.counting.turns.state import Turn
from opencode_exporter.events import ABANDONED, FAILED, INTERRUPTED, SUCCEEDED, Step

_GOES_ON: Final = "tool-calls"
_UNKNOWN: Final = "unknown"
_FAILS: Final = ("length", "content-filter", "error")
CUT: Final = ("length", "content-filter")
"""Words of an answer that is not whole, also where 2.0.15 says that the turn succeeded."""
_ABORTED: Final = ("MessageAbortedError", "aborted")


def remember(turn: Turn, step: Step) -> None:
    """Store in a turn the facts of its last step that tell how the turn ends."""
    turn.tells_end = step.tells_end
    turn.last, turn.compacted = step.message, False
    turn.last_finish, turn.last_error = step.finish, step.error
    turn.last_refused = any(call.refused for call in step.calls)
    # 2.x completes a step whose process died when its session is resumed: that is no end.
    turn.last_completed = 0 if step.is_unfinished else step.completed
    turn.last_streamed = step.streamed
    turn.last_output, turn.last_calls = step.tokens.output, _has_own_calls(step)
    is_over = step.is_over and bool(step.completed or step.finish)
    undecided = step.finish in ("", _UNKNOWN) and not (step.error or turn.last_refused)
    turn.waits = step.tells_end and is_over and undecided and not turn.last_calls


def _has_own_calls(step: Step) -> bool:
    return any(call.own for call in step.calls)


def ended_by_step(turn: Turn, step: Step) -> str:
    """
    Return the outcome of a turn that its step ends; empty if the turn may go on.

    A turn of 2.x goes on until ``idle``; but where the user interrupts a step, often
    none follows.
    """
    if not step.tells_end:
        return INTERRUPTED if step.error == "aborted" else ""
    if step.error or turn.last_refused:
        return outcome_of(turn)
    if turn.waits or not step.finish or step.finish == _GOES_ON or turn.last_calls:
        return ""
    return outcome_of(turn)


def outcome_of(turn: Turn) -> str:
    """Return the outcome of a turn that ended with its last step; empty if it did not."""
    if turn.last_error:
        return INTERRUPTED if turn.last_error in _ABORTED else FAILED
    if turn.last_refused:
        return INTERRUPTED
    if not turn.last_finish:
        done = turn.tells_end and turn.last_completed and not turn.compacted
        return INTERRUPTED if done else ""
    if turn.last_finish == _GOES_ON:
        return ""
    if turn.last_finish in _FAILS:
        return FAILED
    # Of a word that nobody knows the answer itself tells whether it is one.
    return SUCCEEDED if turn.last_finish == "stop" or turn.last_output else FAILED


def ended_by_message(turn: Turn) -> str:
    """
    Return the outcome of a turn at the next human message; empty if the turn goes on.

    A turn of 1.x that was to go on is abandoned then.  One of 2.x goes on until ``idle``:
    the message steers it; unless its process died, or its last step has an error (2.0.15
    often leaves no ``idle`` when the user interrupts).
    """
    if turn.tells_end:
        is_last = turn.waits or not turn.last_finish
        return (outcome_of(turn) if is_last else "") or ABANDONED
    if not turn.last_finish and not turn.last_error:
        return ABANDONED
    if turn.last_error or not turn.last_streamed:
        return outcome_of(turn) or ABANDONED
    return ""


def ended_by_silence(turn: Turn) -> str:
    """Return the outcome of a turn in a session that has fallen silent."""
    if turn.tells_end:
        return ended_by_message(turn)
    if not turn.last_finish and not turn.last_error:
        return ABANDONED  # its process died
    was_to_go_on = turn.last_calls and not (turn.last_error or turn.last_refused)
    return ABANDONED if was_to_go_on else outcome_of(turn) or ABANDONED
