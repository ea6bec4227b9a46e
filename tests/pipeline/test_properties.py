"""Machine-made sessions: however a stream is cut, repeated or lost, the server reads whole, inspected units."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from conduitfw.outcome import Verdict
from tests.pipeline.modbus_units import carrying, diagnostics, forbidden, read, read_answer, write, write_answer
from tests.pipeline.wire import Wire, tables

ALLOWED = [read(1), read(2), write(3), carrying(forbidden(), 4)]
UNITS = st.lists(st.sampled_from([*ALLOWED, forbidden(), diagnostics()]), min_size=1, max_size=6)


def allowed_prefix(units: list[bytes]) -> list[bytes]:
    result = []
    for unit in units:
        if unit not in ALLOWED:
            break
        result.append(unit)
    return result


def answer(unit: bytes) -> bytes:
    transaction = int.from_bytes(unit[:2], "big")
    if unit[7] == 3:
        return read_answer(transaction)
    return write_answer(transaction, int.from_bytes(unit[10:12], "big"))


class Server:
    """Answers every request that a read brought, and fails the test where a read is not whole allowed units."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.seen = 0
        self.executed: list[bytes] = []

    def serve(self) -> None:
        while self.seen < len(self.wire.reads):
            data = self.wire.reads[self.seen]
            self.seen += 1
            while data:
                unit = next((each for each in ALLOWED if data.startswith(each)), None)
                assert unit is not None, f"the server read {data.hex()}"
                self.executed.append(unit)
                data = data[len(unit) :]
                self.wire.server(answer(unit))
        self.wire.server()


class Client:
    """A TCP sender: sends the stream in segments, and from the acknowledged byte again until all is taken."""

    def __init__(self, wire: Wire, stream: bytes) -> None:
        self.wire = wire
        self.stream = stream
        self.start = wire.client_next
        wire.client_acknowledged = self.start

    @property
    def acknowledged(self) -> int:
        return min((self.wire.client_acknowledged - self.start) & 0xFFFFFFFF, len(self.stream))

    def send(self, first: int, last: int) -> None:
        self.wire.client_next = (self.start + first) & 0xFFFFFFFF
        self.wire.client(self.stream[first:last], advance=False)


@settings(max_examples=300, deadline=None)
@given(UNITS, st.data())
def test_any_cutting_repeating_and_losing(units: list[bytes], data: st.DataObject) -> None:
    wire = Wire(stamps=data.draw(st.booleans())).open()
    server = Server(wire)
    stream = b"".join(units)
    client = Client(wire, stream)
    lossless = True
    for _ in range(data.draw(st.integers(1, 12))):
        first = data.draw(st.integers(client.acknowledged, len(stream)))
        last = data.draw(st.integers(first, min(first + 300, len(stream))))
        wire.losing = data.draw(st.booleans())
        lossless = lossless and not wire.losing
        client.send(first, last)
        wire.losing = False
        if data.draw(st.booleans()):
            server.serve()
    prefix = allowed_prefix(units)
    for _ in range(60):  # a patient sender gets through
        server.serve()
        if client.acknowledged == len(stream) or wire.reset_to_client:
            break
        client.send(client.acknowledged, len(stream))
    assert server.executed == prefix[: len(server.executed)]
    if lossless or prefix == units:
        assert server.executed == prefix
    if prefix == units:
        assert client.acknowledged == len(stream) and not wire.denials


@settings(max_examples=150, deadline=None)
@given(UNITS, st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_monitor_sees_the_same_however_it_is_cut(units: list[bytes], sizes: list[int]) -> None:
    def observe(cuts: list[int]) -> list[tuple[int, bool]]:
        wire = Wire(tables(mode="monitor")).open()
        stream = b"".join(units)
        seen: list[tuple[int, bool]] = []
        at = 0
        while at < len(stream):
            step = cuts[len(seen) % len(cuts)] if cuts else len(stream)
            outcome = wire.client(stream[at : at + step])
            at += step
            assert outcome.forward and outcome.payload is None
            seen += [(unit.function, outcome.verdict is Verdict.DENY) for unit in outcome.units]
        return seen

    assert [function for function, _ in observe(sizes)] == [function for function, _ in observe([])]
