"""Dividing a whole number into whole shares, so that the shares sum to it.

Belongs here: the division. Not here: what is divided among whom (costs.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

K = TypeVar("K")


def divided(total: int, weights: Mapping[K, int]) -> dict[K, int]:
    """Shares of a whole number in proportion to weights, by the largest remainder.

    Each share is its exact part, rounded up or down. Of equal remainders, those that come first in
    `weights` are rounded up.

    Args:
        total: what is divided, not negative.
        weights: who gets a share, not negative; if all are zero, all shares are equal.

    Returns:
        Shares that sum to `total`; nothing if nobody gets a share.
    """
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    whole = sum(weights.values())
    shares = {each: total * weight // whole for each, weight in weights.items()}
    left = total - sum(shares.values())
    remainders = sorted(weights, key=lambda each: -(total * weights[each] % whole))
    for each in remainders[:left]:
        shares[each] += 1
    return shares
