"""What servers of WebSocket connections share: frames that are too long are refused by what their heads say."""

from __future__ import annotations

from typing import Any

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits


class FrameLimit(Extension):
    """Refuses frames that are too long before they come.

    Args:
        max_bytes: of one frame.
    """

    name = "limit"

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def offer(self) -> bool:
        """It is none that clients are asked for."""
        return False

    def enabled(self) -> bool:
        """It works without being asked for."""
        return True

    def frame_inbound_header(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Look at the head of a frame."""
        return CloseReason.MESSAGE_TOO_BIG if payload_length > self._max_bytes else RsvBits(False, False, False)
