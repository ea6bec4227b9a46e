"""DNP3's short ways say and remember what the longer ones do: objects of an answer, its request, the packed session."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from dnp3.datalink.builder import build_unconfirmed_user_data

from conduitfw.protocols.dnp3 import link, plain, session
from conduitfw.protocols.dnp3.catalogue import LAYOUTS
from conduitfw.protocols.dnp3.objects import BEGINNING, read_objects
from conduitfw.protocols.dnp3.session import Dnp3Session

RESPONSE = 129
USUAL = (
    "", "0101 00 00 0f 5aa5", "0101 01 0000 0f00 5aa5", "0102 00 02 03 8101", "0a02 00 00 00 81",
    "0301 00 00 04 0103", "1e02 00 00 01 01 3412 01 3412", "1e05 00 00 00 01 00000000",
    "1401 00 07 07 01 00000000", "0202 17 01 05 81 010203040506", "0202 28 0100 0500 81 010203040506",
    "2001 28 0200 0100 01 00000000 0200 01 00000000", "3201 07 01 010203040506", "3401 07 01 0500", "0101 07 08 ff",
    "0101 00 00 00 01 1e02 00 00 00 01 3412 1401 00 00 00 01 00000000", "1e02 08 0100 01 3412",
)  # fmt: skip
# Well formed, and yet for objects.py to say so.
UNUSUAL = (
    "0101 02 00000000 07000000 ff", "0202 39 01000000 05000000 81 010203040506", "1e02 07 00",
    "6e05 00 00 00 48656c6c6f", "6e10 00 00 00 30313233343536373839303132333435", "0000 17 01 00 01 04 74657374",
    "0202 18 0100 05 81 010203040506", "0202 27 01 0500 81 010203040506",
)  # fmt: skip
# What no station says.
WRONG = (
    "01", "0101", "0101 00", "0101 00 00", "0101 00 00 0f 5a", "0101 00 00 0f 5aa5 00", "0101 00 0f 00 5aa5",
    "0101 01 0f00 0000 5aa5", "0101 01 0000 0f", "0101 17 01 05 ff", "0101 06", "0100 00 00 00 01",
    "1e02 00 00 01 01 3412 01 34", "1e02 00 00 00 01 3412 00", "ff01 00 00 00 01", "010f 00 00 00 01",
    "0202 17 02 05 81 010203040506", "0202 28 0100 05 81 010203040506", "3401 07 01 05", "0101 01 0000 ffff 5aa5",
    "0101 00 00 0f 5aa5 1e02 00 00",
)  # fmt: skip
QUALIFIERS = bytes.fromhex("00 01 02 06 07 08 09 0b 10 11 17 18 19 27 28 29 37 38 39 47 4b 5b 80 87 ff")


def conforms(octets: bytes) -> bool:
    return read_objects(BEGINNING, octets, 0, RESPONSE, True).reason is None


@pytest.mark.parametrize("objects", USUAL)
def test_usual_objects(objects: str) -> None:
    octets = bytes.fromhex(objects)
    assert plain.are_whole(octets, 0) and conforms(octets)
    assert plain.are_whole(b"\x01\x02\x03" + octets, 3)


@pytest.mark.parametrize("objects", UNUSUAL)
def test_unusual_objects_are_left_to_the_reader(objects: str) -> None:
    octets = bytes.fromhex(objects)
    assert not plain.are_whole(octets, 0) and conforms(octets)


@pytest.mark.parametrize("objects", WRONG)
def test_wrong_objects(objects: str) -> None:
    octets = bytes.fromhex(objects)
    assert not plain.are_whole(octets, 0) and not conforms(octets)


def _headers() -> Iterator[bytes]:
    """Every group, variations up to 16, with numbers that name one object, two, none, and the most."""
    for group in sorted({key >> 8 for key in LAYOUTS} | {5, 255}):
        for variation in range(17):
            for qualifier in QUALIFIERS if group << 8 | variation in LAYOUTS else b"\x00\x17":
                for numbers in ("0000", "0001", "0100", "00000100", "0100", "0200", "0000ffff"):
                    yield bytes((group, variation, qualifier)) + bytes.fromhex(numbers)


def test_what_it_takes_the_reader_takes_for_headers() -> None:
    """Behind each, as many octets as make it whole, if any do, and one less and one more."""
    taken = 0
    for header in _headers():
        for size in range(24):
            octets = header + b"\x01" * size
            if plain.are_whole(octets, 0):
                taken += 1
                assert conforms(octets), octets.hex()
    assert taken > 1000


@pytest.mark.parametrize("seed", range(50))
def test_what_it_takes_the_reader_takes_at_random(seed: int) -> None:
    chance = random.Random(seed)
    whole = 0
    for _ in range(400):
        octets = bytearray.fromhex("".join(chance.choice(USUAL) for _ in range(chance.randrange(1, 4))))
        for _ in range(chance.choice((0, 1, 1, 3))):
            if octets:
                octets[chance.randrange(len(octets))] = chance.choice((0, 1, 2, 0x17, 0x28, chance.randrange(256)))
        del octets[len(octets) - chance.choice((0, 0, 0, 1)) :]
        if plain.are_whole(bytes(octets), 0):
            whole += 1
            assert conforms(bytes(octets)), octets.hex()
    assert whole > 50


# --- a session that is asked one way, and one that is asked the other ------------------------------------------


def read_of(number: int, outstation: int = 10) -> bytes:
    user = bytes((0xC0 | number & 63, 0xC0 | number & 15, 1)) + bytes.fromhex("3c0206 3c0106")
    return bytes(build_unconfirmed_user_data(outstation, 1, True, user).to_bytes())


def answer_of(user: bytes, outstation: int = 10, master: int = 1) -> bytes:
    return bytes(build_unconfirmed_user_data(master, outstation, False, user).to_bytes())


def ask(at_once: Dnp3Session, stages: Dnp3Session, frame: bytes, now: float) -> None:
    """The same read, put to both."""
    assert at_once.asks(frame, 0, len(frame)) >= 0
    at_once.asked(frame, 0, len(frame), now)
    unit = stages.inspect(frame, 0, len(frame), True)
    assert unit.reason is None and stages.may_go(unit, 16)
    stages.commit(unit, now)
    assert at_once.pack() == stages.pack() == stages._packed_whole()


@pytest.mark.parametrize("function", range(256))
def test_of_headers_alone_only_two_are_ordinary(function: int) -> None:
    frame = bytes(build_unconfirmed_user_data(10, 1, True, bytes((0xC3, 0xC2, function))).to_bytes())
    assert (Dnp3Session().asks(frame, 0, len(frame)) >= 0) == (function in (0, 1))


def test_a_confirmation_is_not_remembered() -> None:
    sessions = Dnp3Session(), Dnp3Session()
    ask(*sessions, read_of(2), 5.0)
    assert tell(*sessions, answer_of(PLAIN), 6.0) == (True, True)
    before = sessions[0].pack()
    ask(*sessions, bytes(build_unconfirmed_user_data(10, 1, True, b"\xc3\xc2\x00").to_bytes()), 7.0)
    assert sessions[0].pack() == before


def tell(at_once: Dnp3Session, stages: Dnp3Session, frame: bytes, now: float) -> tuple[bool, bool]:
    """The same answer: whether it was ordinary, and whether it was read without `inspect`."""
    before = at_once.pack()
    ordinary = at_once.answers(frame, 0, len(frame))
    quickly = at_once._answered is not None
    assert at_once.pack() == before
    unit = stages.inspect(frame, 0, len(frame), False)
    if ordinary:
        assert unit.reason is None and unit.remark is None and not unit.judged
        at_once.answered(now)
        stages.commit(unit, now)
    assert at_once.pack() == stages.pack() == stages._packed_whole()
    return ordinary, quickly


PLAIN = bytes.fromhex("c2 c2 81 0000 0101 00 00 0f 5aa5")


def changed(place: int, value: int) -> bytes:
    return PLAIN[:place] + bytes((value,)) + PLAIN[place + 1 :]


@pytest.mark.parametrize(
    ("user", "ordinary", "quickly"),
    [
        (PLAIN, True, True),
        (PLAIN[:5], True, True),  # nothing but indications
        (changed(0, 0xFF), True, True),  # whatever the transport's number
        (changed(1, 0xE2), True, True),  # asks for a confirmation
        (changed(3, 0xFF), True, True),  # whatever is indicated
        (changed(0, 0x42), True, False),  # the first of several segments
        (changed(0, 0x82), False, False),  # the last of several
        (changed(1, 0x82), True, False),  # the first of several fragments
        (changed(1, 0x42), True, False),  # the last of several
        (changed(1, 0xD2), False, False),  # as an unsolicited one
        (changed(1, 0xC3), False, False),  # of another request
        (changed(2, 0x82), False, False),  # an unsolicited one by its function
        (changed(2, 0x83), True, False),  # of an authentication
        (changed(2, 0x01), False, False),  # a request
        (changed(7, 0x06), False, False),
        (changed(7, 0x02), False, False),
        (PLAIN[:-1], False, False),
        (PLAIN + b"\0", False, False),
        (PLAIN[:4], False, False),
        (PLAIN[:2], False, False),
        (PLAIN[:1], False, False),
        (PLAIN[:5] + bytes.fromhex("0101 02 00000000 07000000 ff"), True, False),
    ],
)
def test_an_answer_just_beyond_what_is_plain(user: bytes, ordinary: bool, quickly: bool) -> None:
    sessions = Dnp3Session(), Dnp3Session()
    ask(*sessions, read_of(2), 5.0)
    assert tell(*sessions, answer_of(user), 6.0) == (ordinary, quickly)


@pytest.mark.parametrize(
    "frame",
    [
        answer_of(PLAIN, outstation=11),
        answer_of(PLAIN, master=2),
        answer_of(PLAIN, outstation=0xFFF0),
        answer_of(PLAIN, master=0xFFF0),
        bytes(build_unconfirmed_user_data(1, 10, True, PLAIN).to_bytes()),  # in the name of a master
        answer_of(PLAIN)[:-1] + b"\0",
        answer_of(PLAIN)[:8] + b"\0\0" + answer_of(PLAIN)[10:],
        answer_of(PLAIN)[:15] + b"\x0f" + answer_of(PLAIN)[16:],
        answer_of(PLAIN)[:-1],
    ],
)
def test_a_frame_that_is_no_answer(frame: bytes) -> None:
    at_once = Dnp3Session()
    request = read_of(2)
    at_once.asked(request, 0, len(request), 5.0)
    assert not at_once.answers(frame, 0, len(frame)) and at_once._answered is None


def test_an_answer_that_comes_again_or_late_is_not_plain() -> None:
    sessions = Dnp3Session(), Dnp3Session()
    ask(*sessions, read_of(2), 5.0)
    assert tell(*sessions, answer_of(PLAIN), 6.0) == (True, True)
    assert tell(*sessions, answer_of(PLAIN), 6.0) == (True, False)
    ask(*sessions, read_of(2), 7.0)
    for each in sessions:
        each.overdue(100.0, 10.0)
    assert tell(*sessions, answer_of(PLAIN), 100.0) == (False, False)


def test_a_request_that_was_given_up_and_asked_again_is_owed_two_answers() -> None:
    sessions = Dnp3Session(), Dnp3Session()
    ask(*sessions, read_of(2), 5.0)
    for each in sessions:
        each.overdue(100.0, 10.0)
    ask(*sessions, read_of(2), 100.0)
    assert tell(*sessions, answer_of(PLAIN), 101.0) == (True, True)  # the first of two: what is left is late
    assert tell(*sessions, answer_of(PLAIN), 101.0) == (False, False)


def test_a_whole_response_ends_the_cut_one_before() -> None:
    sessions = Dnp3Session(), Dnp3Session()
    ask(*sessions, read_of(2), 5.0)
    assert tell(*sessions, answer_of(changed(0, 0x42)), 6.0) == (True, False)
    assert sessions[0]._responses
    assert tell(*sessions, answer_of(PLAIN), 6.0) == (True, True)
    assert not sessions[0]._responses


@pytest.mark.parametrize("stations", [1, 2, 8, 25])
def test_many_outstations_behind_one_connection(stations: int) -> None:
    """25 are more than are remembered."""
    sessions = Dnp3Session(), Dnp3Session()
    for number in range(3 * stations):
        ask(*sessions, read_of(number, number % stations), float(number))
        user = bytes((0xC0 | number & 63, 0xC0 | number & 15)) + PLAIN[2:]
        assert tell(*sessions, answer_of(user, number % stations), number + 0.5) == (True, True)
    again = Dnp3Session()
    again.restore(sessions[0].pack())
    assert again.pack() == sessions[0].pack()
    assert len(again.pack()) == 4 + 17 * min(stations, session.REMEMBERED)


def test_a_station_whose_number_has_all_octets() -> None:
    sessions = Dnp3Session(), Dnp3Session()
    frame = bytes(build_unconfirmed_user_data(0x1234, 0xABCD, True, read_of(2)[10:19]).to_bytes())
    ask(*sessions, frame, 1e9 / 7)
    assert link.frame(frame, 0, len(frame)) == len(frame)
    assert sessions[0]._requests[0].pair == 0xABCD1234
    user = bytes((0xC2, 0xC2)) + PLAIN[2:]
    assert tell(*sessions, answer_of(user, 0x1234, 0xABCD), 1e9) == (True, True)


@pytest.mark.parametrize(("outstation", "master"), [(0xFFF0, 1), (0xFFFC, 1), (0xFFFF, 1), (10, 0xFFF0)])
def test_a_read_of_nobodys_address_is_not_ordinary(outstation: int, master: int) -> None:
    """Whether a rule names it or not: a broadcast is not answered, and so not remembered."""
    frame = bytes(build_unconfirmed_user_data(outstation, master, True, read_of(2)[10:19]).to_bytes())
    assert Dnp3Session().asks(frame, 0, len(frame)) == -1
    other = bytes(build_unconfirmed_user_data(0xFFEF, 0xFFEF, True, read_of(2)[10:19]).to_bytes())
    assert Dnp3Session().asks(other, 0, len(other)) >= 0


def test_nothing_answers_from_the_self_address() -> None:
    """It may be asked by it, where a rule names it."""
    asked = Dnp3Session()
    frame = bytes(build_unconfirmed_user_data(link.SELF_ADDRESS, 1, True, read_of(2)[10:19]).to_bytes())
    unit = asked.inspect(frame, 0, len(frame), True)
    assert unit.reason is None
    asked.commit(unit, 5.0)
    frame = answer_of(PLAIN, outstation=link.SELF_ADDRESS)
    assert not asked.answers(frame, 0, len(frame))
