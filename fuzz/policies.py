"""The policies that the targets decide by, and the same said once more: from the octets alone, by nothing of conduitfw.

`Allowed` reads what a server got. It is deliberately another reader than the parsers': plain, and only of what these
policies allow, so that everything else that reaches a server is a finding.
"""

from __future__ import annotations

import functools
import struct
import tempfile
from pathlib import Path

from conduitfw.policy.compile import Tables, compile_policy
from conduitfw.policy.load import load_policy

MASTER, OUTSTATION = 1, 10

_ENDS = """
policy: {version: 1, site: fuzz, owner: fuzz, revision: "1"}
zones:
  scada:
    security_level: 2
    networks: [10.10.0.0/24, "fd00:10::/64"]
    interfaces: [scada0]
    assets: {hmi: {address: 10.10.0.11, link_address: 1}, hmi6: "fd00:10::11"}
  cell:
    security_level: 2
    networks: [10.20.0.0/24, "fd00:20::/64"]
    interfaces: [cell0]
    assets:
      plc: 10.20.0.5
      plc6: "fd00:20::5"
      rtu: {address: 10.20.0.9, link_address: 10}
"""

_PLC = "allow: modbus, clients: [hmi, hmi6], servers: [plc, plc6]"

# Two policies, between which the firewall is switched. `Allowed` says the same.
_RULES = (
    f"""
      - {{name: process, {_PLC}, functions: [1, 3, 16, 23], registers: {{coils: 0-99, holding_registers: 0-99}}}}
      - {{name: speeds, {_PLC}, functions: 6, registers: {{holding_registers: 10-19}}, values: 0-1000, at_most: 4/10 s}}
      - &poll {{name: poll, allow: dnp3, clients: hmi, servers: rtu, functions: read}}
      - &control {{name: control, allow: dnp3, clients: hmi, servers: rtu, functions: [select, operate, 5, 6],
           objects: [g12v1], points: {{g12: 0-7}}, controls: [close, trip]}}
      - {{<<: *poll, transport: udp}}
      - {{<<: *control, transport: udp}}
""",
    """
      - {name: looks, allow: modbus, clients: hmi, servers: plc, functions: 3, registers: {holding_registers: 0-49},
         outstanding: 2}
      - {name: writes, allow: modbus, clients: hmi, servers: plc, functions: [15, 16],
         registers: {coils: 0-15, holding_registers: 40-49}}
      - &poll {name: poll, allow: dnp3, clients: hmi, servers: rtu, functions: read}
      - &control {name: control, allow: dnp3, clients: hmi, servers: rtu, functions: [select, operate],
           objects: [g12v1], points: {g12: 2-3}, controls: [trip], select_before_operate: required}
      - {<<: *poll, transport: udp}
      - {<<: *control, transport: udp}
""",
)

# Everything that a rule or a tag can limit, for the units target.
_EVERY_LIMIT = (
    _ENDS
    + """
tags:
  temperature: {asset: plc, table: holding_registers, address: 120, type: float32, word_order: big, unit: C, min: 20,
                max: 80, max_step: 5}
  flow: {asset: plc, table: holding_registers, address: 124, scale: 0.1, unit: m3/h, max: 25}
  count: {asset: plc, table: holding_registers, address: 130, type: int64, word_order: little, max_step: 100}
  run: {asset: plc, table: coils, address: 5}
  breaker: {asset: rtu, group: g12, index: 0}
  voltage: {asset: rtu, group: g41, index: 0, unit: kV, min: 19, max: 21.5, max_step: 0.5}
conduits:
  line:
    from: scada
    to: cell
    on_deny: reject
    rules:
      - {name: tags, allow: modbus, clients: hmi, servers: plc, write: [temperature, flow, run, count], at_most: 60/min}
      - {name: reads tags, allow: modbus, clients: hmi, servers: plc, read: [temperature, flow, run, count]}
      - {name: files, allow: modbus, clients: hmi, servers: plc, functions: [20, 21], files: {4: 0-99, 5-7: all}}
      - {name: registers, allow: modbus, clients: hmi, servers: plc, functions: [read, 5, 15, 6, 16, 22, 23, 24],
         registers: {holding_registers: 0-140, coils: 0-40, input_registers: 0-9}, quantity: 1-64}
      - {name: masks, allow: modbus, clients: hmi, servers: plc, functions: [6, 16, 22, 23],
         registers: {holding_registers: 200-239}, values: {type: int32, word_order: little, min: -500, max: 500}}
      - {name: diagnostics, allow: modbus, clients: hmi, servers: plc, functions: [8, 43, 90],
         sub_functions: {diagnostics: query, 43: identification, umas: [query, session]}}
      - {name: reads, allow: dnp3, clients: hmi, servers: rtu, unsolicited: yes,
         functions: [read, write, time, enable_unsolicited, confirmed_user_data, select, operate],
         objects: [class 0-3, g1, g30, g41, g50v1, g80v1, g34], points: {g80: 7, g41: 0-9}, values: -50 to 50}
      - {name: breakers, allow: dnp3, clients: hmi, servers: rtu, write: [breaker, voltage], controls: [trip, close],
         select_before_operate: required, at_most: 20/min}
      - {name: direct, allow: dnp3, clients: hmi, servers: rtu, functions: [direct_operate, direct_operate_no_ack],
         objects: [g12v1, g41], points: {g12: 0-7, g41: 1-9}, controls: [latch_on, 0x81]}
"""
)


def _compiled(text: str) -> Tables:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(text)
        loaded = load_policy([path])
    if loaded.policy is None:
        raise ValueError([str(problem) for problem in loaded.problems])
    return compile_policy(loaded.policy)


@functools.cache
def pipeline_tables(which: int, on_deny: str, mode: str, fail: str) -> Tables:
    """The first or the second policy of the pipeline target."""
    conduit = f"""
conduits:
  line:
    from: scada
    to: cell
    mode: {mode}
    fail: {fail}
    on_deny: {on_deny}
    rules:
"""
    return _compiled(_ENDS + conduit + _RULES[which])


@functools.cache
def every_limit() -> Tables:
    """The policy of the units target."""
    return _compiled(_EVERY_LIMIT)


def _within(first: int, count: int, low: int, high: int) -> bool:
    return count >= 1 and low <= first and first + count - 1 <= high


def modbus_request_allowed(which: int, adu: bytes) -> bool:
    """Whether policy `which` allows this ADU of a client."""
    if len(adu) < 12:
        return False
    _, protocol, length, _, function = struct.unpack_from("!HHHBB", adu)
    if protocol or length != len(adu) - 6:
        return False
    body = adu[8:]
    first, second = struct.unpack_from("!HH", body)
    size = len(body)
    if which == 0:
        if function in (1, 3):
            return size == 4 and _within(first, second, 0, 99)
        if function == 6:
            return size == 4 and 10 <= first <= 19 and second <= 1000
        if function == 16:
            return size == 5 + 2 * second and body[4] == 2 * second and _within(first, second, 0, 99)
        if function == 23 and size >= 9:
            at, count = struct.unpack_from("!HH", body, 4)
            right = size == 9 + 2 * count and body[8] == 2 * count
            return right and _within(first, second, 0, 99) and _within(at, count, 0, 99)
        return False
    if function == 3:
        return size == 4 and _within(first, second, 0, 49)
    if function == 15:
        octets = (second + 7) // 8
        return size == 5 + octets and body[4] == octets and _within(first, second, 0, 15)
    if function == 16:
        return size == 5 + 2 * second and body[4] == 2 * second and _within(first, second, 40, 49)
    return False


_CONFIRM, _READ, _SELECT, _OPERATE, _DIRECT, _SILENT = 0, 1, 3, 4, 5, 6
_FUNCTIONS = (
    frozenset((_CONFIRM, _READ, _SELECT, _OPERATE, _DIRECT, _SILENT)),
    frozenset((_CONFIRM, _READ, _SELECT, _OPERATE)),
)
_POINTS = (range(8), range(2, 4))
_CODES = (frozenset((0x41, 0x81)), frozenset((0x81,)))  # close, trip: pulse on


def controls_allowed(which: int, objects: bytes) -> bool:
    """Whether these objects of an operation are relays that policy `which` lets one operate."""
    at = 0
    while at < len(objects):
        group, variation, qualifier = objects[at : at + 3].ljust(3, b"\0")
        at += 3
        if (group, variation) != (12, 1):
            return False
        width = {0x17: 1, 0x28: 2, 0x39: 4, 0x00: 1, 0x01: 2, 0x02: 4}.get(qualifier)
        if width is None:
            return False
        first = int.from_bytes(objects[at : at + width], "little")
        at += width
        if qualifier in (0x17, 0x28, 0x39):
            count, prefix = first, width
        else:
            count, prefix = int.from_bytes(objects[at : at + width], "little") - first + 1, 0
            at += width
        for number in range(count):
            index = int.from_bytes(objects[at : at + prefix], "little") if prefix else first + number
            at += prefix
            if at + 11 > len(objects) or index not in _POINTS[which] or objects[at] not in _CODES[which]:
                return False
            at += 11
    return True


class Dnp3Server:
    """An outstation's ears: puts fragments together from frames, and says of each frame whether it may be there."""

    def __init__(self) -> None:
        self._fragment = b""
        self._number = -1  # of the next segment

    def takes(self, which: int, frame: bytes) -> str:
        """Why policy `which` does not allow this frame of a client where it stands; "" where it does."""
        length, control, destination, source = struct.unpack_from("<xxBBHH", frame)
        if (destination, source) != (OUTSTATION, MASTER):
            return f"link addresses {source} -> {destination}"
        if not control & 0x80:
            return "a frame in an outstation's name"
        if not length > 5:
            said = control & 0x4F
            return "" if said in (0x40, 0x49, 0x0B, 0x00) else f"link function {said:#x}"
        if control & 0x4F != 0x44:
            return f"user data by link function {control & 0x4F:#x}"
        left, at, user = length - 5, 10, b""
        while left > 0:
            user += frame[at : at + min(left, 16)]
            left, at = left - 16, at + 18
        header = user[0]
        if header & 0x40:
            self._fragment = b""
        elif header & 0x3F != self._number:
            return "a segment out of step"
        self._number = (header + 1) & 0x3F
        self._fragment += user[1:]
        function = self._fragment[1] if len(self._fragment) > 1 else -1
        if function not in _FUNCTIONS[which]:
            return f"application function {function}"
        if not header & 0x80:
            return ""
        self._number = -1
        if function in (_SELECT, _OPERATE, _DIRECT, _SILENT) and not controls_allowed(which, self._fragment[2:]):
            return f"an operation of {self._fragment[2:].hex()}"
        return ""
