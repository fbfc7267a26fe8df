"""
Quantiles of histograms, as Prometheus' ``histogram_quantile`` estimates them.

Pure arithmetic; knows no metric.
"""

from __future__ import annotations

from collections.abc import Sequence


def quantile(q: float, edges: Sequence[float], counts: Sequence[int]) -> float | None:
    """
    Return a quantile, or None where nothing was observed.

    Observations are taken to lie evenly within their bucket; of those beyond the
    last edge no more is known than that edge.  It never lies outside of its bucket.

    Args:
        q: Above 0, at most 1.
        edges: Upper edges of the buckets, ascending, above 0.
        counts: Observations in each bucket (not cumulative), those beyond the last edge after.
    """
    rank = q * sum(counts)
    if not rank:
        return None
    below, start = 0, 0.0
    for edge, count in zip(edges, counts, strict=False):
        if below + count >= rank:
            # Rounding alone can carry it beyond its bucket: 0.01 * 57 / 57 is above 0.01.
            return min(max(start + (edge - start) * (rank - below) / count, start), edge)
        below += count
        start = edge
    return edges[-1]
