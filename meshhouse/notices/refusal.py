"""Why a channel did not take a message.

Belongs here: the one exception of channels. Not here: what follows from it (deliver.py).
"""

from __future__ import annotations

from meshhouse.errors import MeshError


class Refused(MeshError):
    """A channel did not take a message. The text holds no address and no secret."""

    def __init__(self, reason: str, concerns_all: bool = True, is_too_large: bool = False) -> None:
        super().__init__(reason)
        self.concerns_all = concerns_all
        """Whether the channel would not take other messages now either."""
        self.is_too_large = is_too_large
        """Whether it would take a smaller message."""
