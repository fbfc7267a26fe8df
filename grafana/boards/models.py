"""Models and edits: tokens, cost, speed; which edit format works for which model."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import looks, panels, tables
from boards.board import board, choice
from boards.edits import THESE, edits
from boards.queries import (
    failure_rate,
    mean,
    quantile,
    rate,
    share,
    spans,
    top,
    total,
)
from boards.tables import Column
from opencode_exporter import catalog as c

MODEL: Final = ("model",)
PAIR: Final = ("provider", "model")
READ: Final = 'token_type=~"input|cache_read|cache_write"'
CACHED: Final = 'token_type="cache_read"'


def _heroes() -> list[panels.AnyPanel]:
    return [
        panels.numbers(
            "Cost",
            "What did the models cost?",
            spans(lambda count: count(c.COST, (), THESE)),
            unit="currencyUSD",
        ),
        panels.numbers(
            "Tokens",
            "How many tokens were read and written?",
            spans(lambda count: count(c.TOKENS, (), THESE)),
            unit=looks.LARGE,
        ),
        panels.numbers(
            "Read from cache",
            "How much of what models read came from the provider's cache?",
            spans(
                lambda count: share(
                    count(c.TOKENS, (), THESE, CACHED), count(c.TOKENS, (), THESE, READ)
                )
            ),
            unit=looks.SHARE,
            decimals=1,
            steps={0: looks.WORST, 0.3: looks.BAD, 0.5: looks.FAIR, 0.7: looks.GOOD},
        ),
        panels.numbers(
            "Steps",
            "How often did a model answer?",
            spans(lambda count: count(c.STEPS, (), THESE)),
            unit=looks.LARGE,
        ),
        panels.numbers(
            "Failed edits",
            "How many attempts to edit a file failed?",
            spans(lambda count: failure_rate(c.EDIT_ATTEMPTS, (), THESE, count=count)),
            unit=looks.SHARE,
            decimals=1,
            steps=looks.FAILURES,
        ),
        panels.numbers(
            "Lines changed",
            "How many lines were added and removed?",
            spans(lambda count: count(c.EDIT_LINES, ())),
            unit=looks.LARGE,
        ),
    ]


def _models() -> panels.AnyPanel:
    steps = total(c.STEPS, PAIR, THESE)
    return tables.table(
        "Models",
        "Which models are used, what do they cost, how fast are they?",
        {"model": "Model", "provider": "Provider"},
        [
            Column("Steps", f"{steps} > 0", decimals=0, bar=True),
            Column("Cost", total(c.COST, PAIR, THESE), unit="currencyUSD", decimals=2, width=90),
            Column(
                "100 steps",
                f"100 * {share(total(c.COST, PAIR, THESE), steps)}",
                unit="currencyUSD",
                decimals=2,
                width=95,
            ),
            Column("Read", total(c.TOKENS, PAIR, THESE, READ), unit=looks.LARGE, width=95),
            Column(
                "from cache",
                share(total(c.TOKENS, PAIR, THESE, CACHED), total(c.TOKENS, PAIR, THESE, READ)),
                unit=looks.SHARE,
                decimals=0,
                width=100,
            ),
            Column(
                "Written",
                total(c.TOKENS, PAIR, THESE, 'token_type=~"output|reasoning"'),
                unit=looks.LARGE,
                width=95,
            ),
            Column("Step p50", quantile(0.5, c.STEP_DURATION, PAIR, THESE), unit="s", width=90),
            Column("p95", quantile(0.95, c.STEP_DURATION, PAIR, THESE), unit="s", width=90),
            Column("Answer", mean(c.MODEL_RESPONSE, PAIR, THESE), unit="s", width=90),
            Column(
                "Failed edits",
                failure_rate(c.EDIT_ATTEMPTS, PAIR, THESE),
                unit=looks.SHARE,
                decimals=1,
                steps=looks.FAILURES,
                width=110,
            ),
        ],
        label_width=140,
        none="no model was used",
        height=7,
    )


def _cost() -> list[panels.AnyPanel]:
    def split(label: str, question: str) -> panels.AnyPanel:
        return panels.lines(
            f"Cost an hour by {label}",
            question,
            {f"{{{{{label}}}}}": f"3600 * {rate(c.COST, (label,), THESE)}"},
            unit="currencyUSD",
            stacked=True,
            interval=panels.RARE,
            width=6,
        )

    return [
        split("provider", "Which provider is paid how much?"),
        split("model", "Which model costs how much?"),
        split("agent", "Which agent costs how much?"),
        split("project", "Which project costs how much?"),
    ]


def _tokens() -> list[panels.AnyPanel]:
    return [
        panels.lines(
            "Tokens a minute by kind",
            "What are tokens used for?",
            {"{{token_type}}": f"60 * {rate(c.TOKENS, ('token_type',), THESE)}"},
            unit=looks.LARGE,
            stacked=True,
        ),
        panels.lines(
            "Tokens a minute by model",
            "Which models, of which providers, use them?",
            {"{{provider}} {{model}}": f"60 * {rate(c.TOKENS, PAIR, THESE)}"},
            unit=looks.LARGE,
            stacked=True,
        ),
    ]


def _speed() -> list[panels.AnyPanel]:
    return [
        panels.lines(
            "Median step by model",
            "How long does a step take, its invocations included?",
            {"{{model}}": quantile(0.5, c.STEP_DURATION, MODEL, THESE, count=rate)},
            unit="s",
            interval=panels.RARE,
            width=8,
        ),
        panels.lines(
            "Mean answer by model",
            "How long until a model's answer has streamed (OpenCode 2.x records it)?",
            {"{{model}}": mean(c.MODEL_RESPONSE, MODEL, THESE, count=rate)},
            unit="s",
            interval=panels.RARE,
            width=8,
        ),
        panels.lines(
            "Steps a minute by finish",
            "Why do models stop?",
            {"{{finish}}": f"60 * {rate(c.STEPS, ('finish',), THESE)}"},
            unit=looks.PER_MINUTE,
            stacked=True,
            width=8,
        ),
    ]


def _errors() -> list[panels.AnyPanel]:
    return [
        panels.leaders(
            "Errors of steps",
            "With which errors do steps end?",
            {"{{error}}": top(10, total(c.SESSION_ERRORS, ("error",)))},
            steps={0: "red"},
            none="no step had an error",
            width=8,
            height=6,
        ),
        panels.leaders(
            "Requests that were repeated",
            "Which models had to be asked again, where OpenCode records it?",
            {"{{model}}": top(10, total(c.MODEL_RETRIES, MODEL, THESE))},
            steps={0: "orange"},
            none="no repeated request was recorded",
            width=8,
            height=6,
        ),
        panels.leaders(
            "Compactions of the context",
            "How often was the context full, or made smaller by the user?",
            {"{{mode}}": top(2, total(c.COMPACTIONS, ("mode",)))},
            none="there was none",
            width=8,
            height=6,
        ),
    ]


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "opencode-models",
        "Models and edits: what do models cost, how fast are they, whose edits succeed?",
        {
            "": [*_heroes(), _models()],
            "Cost": _cost(),
            "Tokens": _tokens(),
            "Speed": _speed(),
            "Errors": _errors(),
            "Edits": edits(),
        },
        extra=[choice("model", c.STEPS)],
    )
