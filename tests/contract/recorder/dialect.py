"""
The calls of a scene, spelled as each generation of OpenCode wants them.

Tool names and argument keys changed in 2.x; scenes say what they mean and get
the right spelling here. Nothing here runs anything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.recorder.binaries import Binary
from contract.recorder.script import UNKNOWN, Call


@dataclass(frozen=True, slots=True)
class Dialect:
    """How calls look for one binary; `project` makes the absolute paths that 1.x asks for."""

    binary: Binary
    project: Path

    @property
    def is_v2(self) -> bool:
        """Return whether this is the spelling of 2.x."""
        return self.binary.is_v2

    @property
    def interrupted_subagent(self) -> str:
        """Return how a sub-agent ends that the user interrupts: 1.14 calls it completed."""
        return "completed" if self.binary.numbers[:2] == (1, 14) else "aborted"

    def skill(self, name: str, *, exists: bool = True, **options: Any) -> Call:
        """Load a skill; one that does not exist fails as `not_found`."""
        arguments = {"id" if self.is_v2 else "name": name}
        if not exists:
            options |= {"status": "error", "reason": "not_found"}
        return Call("skill", arguments, skill=name if exists else UNKNOWN, **options)

    def shell(self, command: str, *, timeout_ms: int | None = None, **options: Any) -> Call:
        """Run a command."""
        arguments: dict[str, object] = {"command": command}
        if not self.is_v2:
            arguments["description"] = "Run a command"
        if timeout_ms is not None:
            arguments["timeout"] = timeout_ms
        return Call("shell" if self.is_v2 else "bash", arguments, **options)

    def read(self, name: str, **options: Any) -> Call:
        """Read a file of the project."""
        return self._file("read", name, {}, options)

    def write(self, name: str, content: str, **options: Any) -> Call:
        """Write a file of the project."""
        return self._file("write", name, {"content": content}, options)

    def edit(self, name: str, old: str, new: str, **options: Any) -> Call:
        """Replace text in a file of the project."""
        return self._file("edit", name, {"oldString": old, "newString": new}, options)

    def missed_edit(self, name: str) -> Call:
        """Replace text that is not in the file."""
        return self.edit(name, "nowhere", "x", status="error", reason="edit_mismatch")

    def patch(self, name: str, old: str, new: str) -> Call:
        """Replace a line of a file with the patch tool."""
        hunk = f"*** Update File: {name}\n@@\n-{old}\n+{new}\n"
        added = "*** Add File: added.txt\n+one\n+two\n"
        return self.patches(added + hunk)

    def patches(self, hunks: str, **options: Any) -> Call:
        """Apply hunks with the patch tool."""
        text = f"*** Begin Patch\n{hunks}*** End Patch"
        return Call("patch" if self.is_v2 else "apply_patch", {"patchText": text}, **options)

    def subagent(self, prompt: str, **options: Any) -> Call:
        """Hand a prompt to a sub-agent."""
        key = "agent" if self.is_v2 else "subagent_type"
        arguments = {key: "general", "description": "Look around", "prompt": prompt}
        return Call("subagent" if self.is_v2 else "task", arguments, **options)

    def mcp(self, tool: str, text: str, *, fails: bool = False) -> Call:
        """Call a tool of the MCP server `demo`; 2.x goes through `execute`."""
        status = "error" if fails else "completed"
        if self.is_v2:
            code = f"return await tools.demo.{tool}({{text: {text!r}}})"
            inner = ((f"demo.{tool}", status),)
            return Call("execute", {"code": code}, inner=inner)  # itself completes either way
        if self.binary.numbers < (1, 15):
            status = "completed"  # isError was not yet written down as one
        reason = "other" if status == "error" else None
        return Call(f"demo_{tool}", {"text": text}, status=status, reason=reason)

    def todo(self, *items: str) -> Call:
        """Write the todo list (1.x)."""
        rows = [
            {"id": str(at), "content": item, "status": "pending", "priority": "high"}
            for at, item in enumerate(items)
        ]
        return Call("todowrite", {"todos": rows})

    def _file(self, tool: str, name: str, more: dict[str, object], options: dict[str, Any]) -> Call:
        path = str(self.project / name)
        return Call(tool, {"path" if self.is_v2 else "filePath": path} | more, **options)
