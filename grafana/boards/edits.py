"""Edits: which format works for which model, what becomes of the code."""

from __future__ import annotations

from typing import Final

from boards import looks, panels, tables
from boards.queries import (
    failure_rate,
    mean,
    rate,
    total,
)
from boards.tables import Column
from opencode_exporter import catalog as c

THESE: Final = 'model=~"$model"'


def edits() -> list[panels.AnyPanel]:
    """Return the panels about edits, by format, model and language."""
    pair = ("tool", "model")
    tries = total(c.EDIT_TRIES, ("tool",), suffix="_count")
    return [
        tables.matrix(
            "Edits that succeed, by format and model",
            "Which way of editing files works for which model?",
            f"1 - ({failure_rate(c.EDIT_ATTEMPTS, pair, THESE)})",
            ("model", "Model"),
            "tool",
            unit=looks.SHARE,
            steps=looks.SUCCESSES,
            none="no file was edited",
            height=8,
        ),
        tables.matrix(
            "Attempts, by format and model",
            "How much is that success worth: of how many attempts is it?",
            f"{total(c.EDIT_ATTEMPTS, pair, THESE)} >= 0.5",
            ("model", "Model"),
            "tool",
            steps={0: "transparent"},
            none="no file was edited",
            height=8,
        ),
        tables.table(
            "Attempts until a change is made",
            "How often does a change succeed at once, and how often is it given up?",
            {"tool": "Format"},
            [
                Column("Changes", f"{tries} > 0", decimals=0),
                Column("Attempts each", mean(c.EDIT_TRIES, ("tool",)), decimals=2),
                Column("Given up", total(c.EDIT_ABANDONED, ("tool",)), decimals=0),
            ],
            none="no file was edited",
            width=8,
            height=7,
        ),
        panels.lines(
            "Lines an hour",
            "How much code is added and removed?",
            {"{{change}}": f"3600 * {rate(c.EDIT_LINES, ('change',))}"},
            unit=looks.COUNT,
            decimals=0,
            interval=panels.RARE,
            width=8,
            height=7,
        ),
        tables.matrix(
            "Lines by language",
            "In which languages is the code?",
            f"{total(c.EDIT_LINES, ('language', 'change'))} >= 0.5",
            ("language", "Language"),
            "change",
            steps={0: "transparent"},
            none="no file was edited",
            width=8,
            height=7,
        ),
    ]
