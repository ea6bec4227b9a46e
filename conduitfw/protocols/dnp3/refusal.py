"""What we say in an outstation's name to a request that the policy denies (IEEE 1815-2012, 4.5.6)."""

from __future__ import annotations

from conduitfw.protocols import Kind, Unit
from conduitfw.protocols.dnp3 import application, link, transport
from conduitfw.protocols.dnp3.session import Dnp3Unit
from conduitfw.reasons import Reason

# The second octet of the internal indications.
NO_FUNCTION, OBJECT_UNKNOWN, PARAMETER_ERROR = 0x01, 0x02, 0x04
_INDICATIONS = {
    Reason.OBJECT: OBJECT_UNKNOWN,
    Reason.POINT: PARAMETER_ERROR,
    Reason.QUANTITY: PARAMETER_ERROR,
    Reason.CONTROL: PARAMETER_ERROR,
    Reason.VALUE: PARAMETER_ERROR,
    Reason.NOT_SELECTED: PARAMETER_ERROR,
    Reason.TAG_PART: PARAMETER_ERROR,
    Reason.TAG_LIMIT: PARAMETER_ERROR,
    Reason.TAG_STEP: PARAMETER_ERROR,
    Reason.TAG_UNSEEN: PARAMETER_ERROR,
}
_FROM_OUTSTATION = link.PRM | (link.UNCONFIRMED_USER_DATA & 0x0F)


def refusal(data: bytes, start: int, end: int, unit: Unit, reason: Reason) -> bytes | None:
    """A response without objects, with IIN2.0 for a function, IIN2.1 for an object, IIN2.2 for a point or value.

    Nothing before the fragment's last frame. None for services of the link layer, and for what the link layer would
    have to confirm.
    """
    if unit.kind is not Kind.REQUEST or unit.also >= 0:
        return None
    if not unit.answered:
        return b""
    assert isinstance(unit, Dnp3Unit)
    master, outstation = unit.address
    user = bytes(
        (
            transport.FIR | transport.FIN,
            application.FIR | application.FIN | unit.sequence,
            application.RESPONSE,
            0,
            _INDICATIONS.get(reason, NO_FUNCTION),
        )
    )
    return link.build(_FROM_OUTSTATION, master, outstation, user)
