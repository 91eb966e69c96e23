"""DSSE pre-authentication encoding: the bytes that a DSSE signature covers.

Nothing is hashed or parsed here; the caller signs or verifies exactly what ``pae`` returns.
"""

from typing import Any

from lockstep.errors import DataError
from lockstep.exact import text


def pae(payload_type: str, payload: Any) -> bytes:
    """``DSSEv1 LEN type LEN payload``; lengths in bytes.

    Raises:
        DataError: RECORD_INVALID; the type is not text or the payload is not bytes.
    """
    kind = text(payload_type, "payload_type").encode()
    if type(payload) is not bytes:
        raise DataError("RECORD_INVALID", "payload is not bytes", place="payload")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
