"""A base of WebSocket servers: too long frames are refused when their heads have come."""

from __future__ import annotations

from typing import Any

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits


class FrameLimit(Extension):
    """Refuses too long frames before their content comes.

    Args:
        max_bytes: of one frame.
    """

    name = "limit"

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def offer(self) -> bool:
        """It is not offered to clients."""
        return False

    def enabled(self) -> bool:
        """It works without negotiation."""
        return True

    def frame_inbound_header(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Check the length in the head of a frame."""
        return CloseReason.MESSAGE_TOO_BIG if payload_length > self._max_bytes else RsvBits(False, False, False)
