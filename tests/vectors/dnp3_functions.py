"""DNP3 cases: addresses, functions, link services, unsolicited responses, and answers."""

from __future__ import annotations

from tests.vectors.case import Cases, client, server
from tests.vectors.dnp3_encoder import (
    CLOSE,
    Block,
    answer,
    ask,
    bare,
    class_data,
    controls,
    counted,
    down,
    event,
    every,
    frames,
    indexed,
    request,
    response,
    service,
    set_points,
    shortened,
    sized,
    span,
    up,
    with_control,
)
from tests.vectors.dnp3_usual import (
    BEYOND,
    COLD_RESTART,
    DIRECT,
    DIRECT_NO_RESPONSE,
    EVENT,
    MEASURE,
    NOTHING,
    OTHER_SEQUENCE,
    POLL,
    READ,
    RECORD,
    TIME,
    UNMATCHED,
    WARM_RESTART,
    WRITE,
    answers_too,
)

EWS = ("ews-a", "rtu-7")


def _file(text: bytes) -> bytes:
    """Somewhat like a file command: a name's place and size, and the name."""
    return b"\x1a\x00" + len(text).to_bytes(2, "little") + bytes(22) + text


# Requests as masters send them, by function.
REQUESTS: dict[int, tuple[Block, ...]] = {
    2: (TIME,),
    3: (controls((3, CLOSE)),),
    5: (controls((3, CLOSE)),),
    6: (set_points((3, 50)),),
    7: (every(20),),
    8: (every(20),),
    9: (every(20),),
    10: (every(20),),
    11: (counted(50, 2, 1, bytes(10)), every(20)),
    12: (counted(50, 2, 1, bytes(10)), every(20)),
    13: (),
    14: (),
    15: (),
    16: (sized(90, 1, [b"control"]),),
    17: (sized(90, 1, [b"control"]),),
    18: (sized(90, 1, [b"control"]),),
    19: (),
    20: (class_data(1),),
    21: (class_data(1), class_data(2)),
    22: (class_data(2), every(1)),
    23: (),
    24: (),
    25: (sized(70, 3, [_file(b"a.txt")]),),
    26: (sized(70, 4, [bytes(13)]),),
    27: (sized(70, 3, [_file(b"a.txt")]),),
    28: (sized(70, 7, [_file(b"a.txt")]),),
    29: (sized(70, 2, [_file(b"x")]),),
    30: (sized(70, 4, [bytes(13)]),),
    31: (sized(70, 8, [b"a.txt"]),),
    32: (sized(120, 2, [bytes(16)]),),
    33: (sized(120, 2, [bytes(16)]),),
}

GROUPS = {
    "control": (3, 5, 6),
    "freeze": (7, 8, 9, 10, 11, 12),
    "restart": (13, 14),
    "application": (15, 16, 17, 18),
    "configuration": (19, 22, 31),
    "time": (23, 24),
    "file": (25, 26, 27, 28, 29, 30),
    "authentication": (32, 33),
    "unsolicited": (20, 21),
    "write": (2,),
}


def add_to(cases: Cases) -> None:
    """All of them."""
    _addresses(cases)
    _functions(cases)
    _link(cases)
    _unsolicited(cases)
    _answers(cases)


def _addresses(cases: Cases) -> None:
    cases.add(
        "master",
        "the rule names masters",
        "functions: read, master: [1, 2]",
        client(ask(READ, class_data(1), master=1)),
        client(ask(READ, class_data(1), master=2)),
        client(ask(READ, class_data(1), master=3), BEYOND),
        client(ask(READ, class_data(1), master=0), BEYOND),
        ends=EWS,
    )
    cases.add(
        "master",
        "the rule names none: the asset's own",
        "functions: read",
        client(POLL),
        client(ask(READ, class_data(1), master=2), BEYOND),
    )
    cases.add(
        "master",
        "neither says one: any",
        "functions: read",
        client(ask(READ, class_data(1), master=65519)),
        client(ask(READ, class_data(1), master=65520), "dnp3-address"),
        client(ask(READ, class_data(1), master=65535), "dnp3-address"),
        ends=EWS,
    )
    answers_too(cases, "master", "functions: read, master: 1", ask(READ, class_data(1), master=65533), "dnp3-address")
    cases.add(
        "outstation",
        "the rule names several",
        "functions: read, outstation: 10-11",
        client(ask(READ, class_data(1), outstation=10)),
        client(ask(READ, class_data(1), outstation=11)),
        client(ask(READ, class_data(1), outstation=12), BEYOND),
        client(ask(READ, class_data(1), outstation=2560), BEYOND),
        server(answer(outstation=11)),
        server(answer(outstation=12), UNMATCHED),
    )
    cases.add(
        "outstation",
        "the rule names none: the asset's own",
        "functions: [read, write]",
        client(POLL),
        client(ask(READ, class_data(1), outstation=11), BEYOND),
        client(ask(WRITE, TIME, outstation=65535), BEYOND),
        client(ask(WRITE, TIME, outstation=65533), BEYOND),
        client(ask(READ, class_data(0), outstation=65532), BEYOND),
    )
    for address in (65533, 65534, 65535):
        cases.add(
            "outstation",
            f"broadcast to {address}, where it is named",
            f"functions: [write], outstation: [10, {address}]",
            client(ask(WRITE, TIME, outstation=address)),
            server(NOTHING, UNMATCHED),
            server(answer(outstation=address), "dnp3-address"),
        )
    cases.add(
        "outstation",
        "one broadcast address is not another",
        "functions: [write], outstation: [10, 65535]",
        client(ask(WRITE, TIME, outstation=65534), BEYOND),
        client(ask(READ, class_data(0), outstation=65535), "no-rule"),
    )
    cases.add(
        "outstation",
        "broadcast of a link service",
        "functions: [read, link], outstation: [10, 65535]",
        client(service("reset_link_state", outstation=65535), "dnp3-broadcast-service"),
        client(service("request_link_status", outstation=65535), "dnp3-broadcast-service"),
        client(frames(request(READ, class_data(1)), outstation=65535, confirmed=True)[0], "dnp3-broadcast-service"),
    )
    answers_too(
        cases,
        "outstation",
        "functions: read, outstation: 10",
        ask(READ, class_data(1), outstation=65521),
        "dnp3-address",
    )


def _functions(cases: Cases) -> None:
    cases.add("functions", "read: class data", "functions: read", client(POLL), server(NOTHING))
    cases.add(
        "functions",
        "read: what a session needs",
        "functions: read",
        client(down(request(0, seq=3))),
        client(down(request(0, seq=3, uns=True))),
    )
    cases.add(
        "functions",
        "read is read-only",
        "functions: read",
        *(client(ask(function, *blocks), "no-rule") for function, blocks in REQUESTS.items()),
    )
    for group, functions in GROUPS.items():
        for function in functions:
            cases.add(
                "functions", f"{group}: {function}", f"functions: {group}", client(ask(function, *REQUESTS[function]))
            )
    cases.add(
        "functions",
        "initialize data names objects",
        "functions: initialize_data",
        client(ask(15, every(20))),
        server(NOTHING),
        client(ask(15, class_data(1), seq=1)),
    )
    cases.add(
        "functions",
        "restart is not control, nor the other way",
        "functions: control",
        client(ask(COLD_RESTART), "no-rule"),
        client(ask(WARM_RESTART), "no-rule"),
        client(POLL, "no-rule"),
        client(down(request(0)), "no-rule"),
    )
    cases.add(
        "functions",
        "one restart is not the other",
        "functions: warm_restart",
        client(ask(WARM_RESTART)),
        server(NOTHING),
        client(ask(COLD_RESTART), "no-rule"),
    )
    cases.add(
        "functions",
        "files: their contents are read and written",
        "functions: [read, file]",
        client(ask(READ, sized(70, 5, [bytes(8)]))),
        server(answer(sized(70, 5, [bytes(20)]))),
        client(ask(WRITE, sized(70, 5, [bytes(20)])), "no-rule"),
    )
    cases.add(
        "functions",
        "a function that is not published",
        "functions: [read, 70]",
        client(ask(70)),
        server(NOTHING),
        client(ask(71), "no-rule"),
        client(ask(127), "no-rule"),
    )
    cases.add(
        "functions",
        "what no request is",
        "functions: all",
        client(ask(128), "dnp3-function"),
        client(ask(144), "dnp3-function"),
        client(ask(255), "dnp3-function"),
        client(down(request(129)), "wrong-direction"),
        client(down(request(130)), "wrong-direction"),
        client(down(request(READ, class_data(1), con=True)), "dnp3-application-control"),
        client(down(request(READ, class_data(1), uns=True)), "dnp3-application-control"),
        client(down(request(READ, class_data(1), fin=False)), "dnp3-application-control"),
        client(down(request(READ, class_data(1), fir=False)), "dnp3-application-control"),
        client(ask(0, class_data(1)), "dnp3-confirm-objects"),
        client(ask(COLD_RESTART, class_data(1)), "dnp3-object-unwanted"),
        client(ask(WARM_RESTART, every(1)), "dnp3-object-unwanted"),
        client(ask(MEASURE, TIME), "dnp3-object-unwanted"),
        client(ask(RECORD, TIME), "dnp3-object-unwanted"),
    )
    cases.add(
        "functions",
        "answers",
        "functions: read",
        client(POLL),
        server(up(shortened(response(), 1)), "dnp3-no-indications"),
        server(up(shortened(response(), 2)), "dnp3-no-indications"),
        server(up(response(uns=True)), "dnp3-application-control"),
        server(up(response().changed("function 132", bytes((0xC0, 132, 0, 0)))), "dnp3-function"),
        server(up(request(READ, class_data(1))), "wrong-direction"),
        server(OTHER_SEQUENCE, UNMATCHED),
        server(NOTHING),
    )
    cases.add(
        "except",
        "taken out of a group",
        "functions: control, except: direct_operate_no_response",
        client(ask(DIRECT_NO_RESPONSE, set_points((3, 50))), "no-rule"),
        client(ask(DIRECT, set_points((3, 50)))),
    )
    answers_too(cases, "except", "functions: [read, control], except: direct_operate", ask(128), "dnp3-function")


def _link(cases: Cases) -> None:
    cases.add(
        "functions",
        "link services that read brings along",
        "functions: read",
        client(service("reset_link_state")),
        server(service("ack", down=False)),
        client(service("request_link_status")),
        server(service("link_status", down=False)),
        server(service("request_link_status", down=False)),
        client(service("link_status")),
        server(service("reset_link_state", down=False)),
    )
    cases.add(
        "functions",
        "link services that it does not",
        "functions: read",
        client(service("test_link_state", fcb=True), "no-rule"),
        client(service("ack"), "no-rule"),
        client(service("nack"), "no-rule"),
        client(service("not_supported"), "no-rule"),
        server(service("test_link_state", down=False, fcb=True), "no-rule"),
        client(frames(request(READ, class_data(1)), confirmed=True)[0], "no-rule"),
    )
    cases.add(
        "functions",
        "link services by their group",
        "functions: link",
        client(service("test_link_state", fcb=True)),
        server(service("ack", down=False)),
        client(service("ack")),
        client(POLL, "no-rule"),
    )
    confirmed = "functions: [read, confirmed_user_data]"
    cases.add(
        "functions",
        "confirmed user data",
        confirmed,
        client(service("reset_link_state")),
        server(service("ack", down=False)),
        client(frames(request(READ, class_data(1)), confirmed=True)[0]),
        server(service("ack", down=False)),
        server(frames(response(), down=False, confirmed=True)[0]),
        client(service("ack")),
        client(frames(request(WRITE, TIME), confirmed=True)[0], "no-rule"),
    )
    cases.add(
        "functions",
        "confirmed user data of the server",
        "functions: read",
        client(POLL),
        server(frames(response(), down=False, confirmed=True)[0], "no-rule"),
        server(NOTHING),
    )
    long = request(DIRECT, controls(*((index, CLOSE) for index in range(30))))
    cases.add(
        "functions",
        "confirmed user data that is a part of a fragment",
        "functions: [control, confirmed_user_data]",
        client(frames(long, confirmed=True)[0], "dnp3-confirmed-data"),
    )
    cases.add(
        "functions",
        "link frames that are none",
        "functions: all",
        client(with_control(POLL, "link function 5", 0xC5), "dnp3-link-function"),
        client(with_control(POLL, "link function 1", 0xC1), "dnp3-link-function"),
        client(with_control(POLL, "FCV set", 0xD4), "dnp3-link-control"),
        client(with_control(service("ack"), "FCB set", 0xA0), "dnp3-link-control"),
        client(with_control(POLL, "reset link states", 0xC0), "dnp3-link-data"),
        client(bare(0xC4), "dnp3-link-data"),
        client(bare(0xC9, b"\xc0\xc0\x00"), "dnp3-link-data"),
        client(with_control(POLL, "DIR clear", 0x44), "wrong-direction"),
        client(POLL.changed("LENGTH 4", {2: 4}), "dnp3-length"),
        client(POLL.changed("start octet", {1: 0x65}), "dnp3-start"),
        client(POLL.changed("the header's CRC", {8: POLL.data[8] ^ 1}), "dnp3-header-crc"),
        client(POLL.changed("destination without its CRC", {4: 11}), "dnp3-header-crc"),
        client(POLL.changed("the block's CRC", {len(POLL.data) - 1: POLL.data[-1] ^ 0x80}), "dnp3-block-crc"),
        client(POLL.changed("function without its CRC", {12: 2}), "dnp3-block-crc"),
        client(bare(0xC4, b"\xc0"), "dnp3-empty-segment"),
        client(bare(0xC4, b"\xc0\xc0"), "dnp3-header-cut"),
    )
    wide = ask(READ, *(span(1, 2, index, index) for index in range(10)))
    for block in range(4):
        place = 10 + 18 * block
        cases.add(
            "functions",
            f"the CRC of block {block + 1}",
            "functions: read",
            client(wide.changed(f"an octet of block {block + 1}", {place: wide.data[place] ^ 4}), "dnp3-block-crc"),
        )
    cases.add("functions", "the CRC of four blocks", "functions: read", client(wide))


def _unsolicited(cases: Cases) -> None:
    allowed = "functions: read, unsolicited: yes"
    cases.add(
        "unsolicited",
        "with events",
        allowed,
        server(event(EVENT, seq=4)),
        client(down(request(0, seq=4, uns=True))),
        server(event(EVENT, seq=5)),
    )
    cases.add(
        "unsolicited",
        "not allowed",
        "functions: read",
        server(event(EVENT, seq=4), "no-rule"),
        server(event(), None),
        client(down(request(0, uns=True))),
    )
    cases.add(
        "unsolicited",
        "of another outstation, or to another master",
        allowed,
        server(event(EVENT, outstation=11), BEYOND),
        server(event(EVENT, master=2), BEYOND),
    )
    cases.add(
        "unsolicited",
        "of another outstation, without events",
        "functions: read",
        server(event()),
        server(event(outstation=11), BEYOND),
        server(event(master=2), BEYOND),
    )
    cases.add(
        "unsolicited",
        "turning them on is another thing",
        allowed,
        client(ask(20, class_data(1)), "no-rule"),
        client(ask(21, class_data(1)), "no-rule"),
    )
    cases.add(
        "unsolicited",
        "turning them on",
        "functions: [read, enable_unsolicited]",
        client(ask(20, class_data(1))),
        server(NOTHING),
        client(ask(21, class_data(1)), "no-rule"),
        server(event(EVENT), "no-rule"),
    )
    cases.add(
        "unsolicited",
        "malformed",
        allowed,
        server(up(response(EVENT, function=130, uns=False)), "dnp3-application-control"),
        server(up(response(EVENT, function=130, fin=False)), "dnp3-application-control"),
        server(up(shortened(response(EVENT, function=130), 1)), "dnp3-object-cut"),
        server(up(shortened(response(function=130), 1)), "dnp3-no-indications"),
        client(down(request(0, con=True)), "dnp3-application-control"),
        client(ask(0, EVENT), "dnp3-confirm-objects"),
        client(event(EVENT), "wrong-direction"),
    )
    long = frames(
        response(indexed(2, 2, [(index, b"\x81" + bytes(6)) for index in range(40)]), function=130), down=False
    )
    cases.add("unsolicited", "in several frames", allowed, *(server(each) for each in long))
    cases.add(
        "unsolicited",
        "in several frames, not allowed",
        "functions: read",
        server(long[0], "no-rule"),
        server(long[1], "dnp3-no-first-segment"),
    )


def _answers(cases: Cases) -> None:
    analogs = frames(response(span(30, 1, 0, 99, bytes(500))), down=False)
    cases.add(
        "conformance",
        "an answer in several frames",
        "functions: read",
        client(POLL),
        *(server(each) for each in analogs),
        server(NOTHING),
    )
    cases.add(
        "conformance",
        "an answer in two fragments",
        "functions: read",
        client(POLL),
        server(up(response(EVENT, fin=False, con=True))),
        client(down(request(0))),
        server(up(response(EVENT, seq=1, fir=False))),
        server(answer(seq=2), UNMATCHED),
    )
    cases.add(
        "conformance",
        "frames of an answer that do not follow",
        "functions: read",
        client(POLL),
        server(analogs[1], "dnp3-no-first-segment"),
        server(analogs[0]),
        server(analogs[2], "dnp3-segment-gap"),
    )
    cases.add(
        "conformance",
        "objects of an answer",
        "functions: read",
        client(POLL),
        server(answer(indexed(30, 9, [(0, bytes(5))])), "dnp3-object-unknown"),
        server(answer(every(30, 1)), "dnp3-qualifier"),
        server(answer(span(1, 1, 0, 9, b"\xff")), "dnp3-object-cut"),
        server(answer(Block(b"\x1e\x01\x0a", "qualifier 0x0A")), "dnp3-qualifier"),
        server(answer(span(1, 1, 0, 9, b"\xff\x03"), EVENT, sized(70, 5, [b"contents"]))),
    )
    cases.add(
        "conformance",
        "nothing was asked",
        "functions: read",
        server(NOTHING, UNMATCHED),
        server(up(response(EVENT)), UNMATCHED),
        server(NOTHING.changed("the block's CRC", {len(NOTHING.data) - 1: 0}), "dnp3-block-crc"),
    )
