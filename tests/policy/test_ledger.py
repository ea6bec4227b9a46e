"""What decisions remember: last values and uses, across a worker's death, bounded, and never to a client's favour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitfw.policy.ledger import RATES, SIZE, VALUES, Ledger, key

NAME = key("tag", 1)


class TestValues:
    def test_seen_told_and_settled(self) -> None:
        book = Ledger()
        assert (book.seen(NAME), book.told(NAME)) == (None, ())
        book.note(NAME, 42.0, 1.0)
        book.tell(NAME, 45.0, 10.0)
        assert (book.seen(NAME), book.told(NAME)) == (42.0, (45.0, 45.0))
        book.settle(NAME, None, 11.0, taken=True)
        assert (book.seen(NAME), book.told(NAME)) == (45.0, ())

    def test_a_refused_write_leaves_what_was_seen(self) -> None:
        book = Ledger()
        book.note(NAME, 42.0, 1.0)
        book.tell(NAME, 45.0, 10.0)
        book.settle(NAME, 45.0, 11.0, taken=False)
        assert (book.seen(NAME), book.told(NAME)) == (42.0, ())
        book.settle(NAME, 50.0, 12.0, taken=True)  # an answer to nothing that was written
        assert book.seen(NAME) == 42.0

    def test_all_that_may_be_written_by_now_counts_until_all_is_answered(self) -> None:
        book = Ledger()
        for now, value in enumerate((45.0, 41.0, 43.0)):
            book.tell(NAME, value, float(now))
        assert book.told(NAME) == (41.0, 45.0)
        for value in (45.0, 41.0):
            book.settle(NAME, value, 5.0, taken=True)
            assert (book.seen(NAME), book.told(NAME)) == (value, (41.0, 45.0))
        book.settle(NAME, 43.0, 5.0, taken=False)
        assert (book.seen(NAME), book.told(NAME)) == (41.0, ())

    def test_an_answer_to_an_older_question_teaches_nothing(self) -> None:
        book = Ledger()
        book.note(NAME, 42.0, 10.0)
        book.note(NAME, 20.0, 9.0)
        assert book.seen(NAME) == 42.0
        book.tell(NAME, 45.0, 20.0)
        book.note(NAME, 20.0, 19.0)
        assert (book.seen(NAME), book.told(NAME)) == (42.0, (45.0, 45.0))
        book.note(NAME, 45.0, 21.0)  # asked behind the write: it is so now
        assert (book.seen(NAME), book.told(NAME)) == (45.0, ())

    @given(st.booleans(), st.booleans())
    def test_what_is_undone_was_never_there(self, known: bool, told: bool) -> None:
        memory = bytearray(SIZE)
        book = Ledger(memory)
        if known:
            book.note(NAME, 42.0, 1.0)
            book.use(key("rate"), 60.0, 100.0)
        if told:
            book.tell(NAME, 43.0, 2.0)
        before = bytes(memory)
        book.begin()
        book.tell(NAME, 50.0, 3.0)
        book.settle(NAME, 50.0, 4.0, taken=True)
        book.note(key("tag", 2), 1.0, 4.0)
        for now in (100.0, 101.0):
            book.use(key("rate"), 60.0, now)
        book.undo()
        assert bytes(memory) == before
        assert book.seen(NAME) == (42.0 if known else None)
        assert book.told(NAME) == ((43.0, 43.0) if told else ())
        assert book.used(key("rate"), 60.0, 101.0) == known
        book.begin()
        book.tell(NAME, 50.0, 5.0)
        book.keep()
        assert book.told(NAME)[1] == 50.0

    def test_the_longest_unchanged_gives_its_place_away_and_is_counted(self) -> None:
        book = Ledger()
        for number in range(VALUES + 1):
            book.note(key("tag", number), float(number), 1.0)
        assert book.values_forgotten == 1
        assert book.seen(key("tag", 0)) is None
        assert book.seen(key("tag", VALUES)) == float(VALUES)


class TestUses:
    def test_a_period_and_a_part_later_a_use_counts_no_more(self) -> None:
        book = Ledger()
        book.use(NAME, 60.0, 100.0)
        assert [book.used(NAME, 60.0, now) for now in (100.0, 159.9, 161.0, 162.1)] == [1, 1, 0, 0]

    @given(st.lists(st.floats(0.001, 40), max_size=60), st.integers(1, 5))
    def test_no_window_of_the_period_holds_more_than_allowed(self, steps: list[float], most: int) -> None:
        book, now, granted = Ledger(), 1000.0, []
        for step in steps:
            now += step
            if book.used(NAME, 60.0, now) < most:
                book.use(NAME, 60.0, now)
                granted.append(now)
        assert all(later - first >= 60.0 for first, later in zip(granted, granted[most:], strict=False))

    @given(st.integers(1, 5))
    def test_a_steady_client_gets_its_share(self, most: int) -> None:
        book = Ledger()
        granted = 0
        for tick in range(600):
            if book.used(NAME, 60.0, 1000.0 + tick) < most:
                book.use(NAME, 60.0, 1000.0 + tick)
                granted += 1
        assert granted >= most * 9  # of ten periods, but for a sixtieth each

    def test_a_full_table_grants_nobody_a_place_that_still_counts(self) -> None:
        book = Ledger()
        for number in range(RATES):
            book.use(key("rate", number), 60.0, 100.0)
        assert book.used(key("another"), 60.0, 130.0) > 60000
        assert book.used(key("another"), 60.0, 200.0) == 0
        book.use(key("another"), 60.0, 200.0)
        assert book.uses_forgotten == 1


class TestSuccessor:
    def test_it_goes_on_from_the_same_memory(self) -> None:
        memory = bytearray(SIZE)
        book = Ledger(memory)
        book.note(NAME, 42.0, 1.0)
        book.tell(NAME, 43.0, 10.0)
        for now in (100.0, 101.0):
            book.use(key("rate"), 60.0, now)
        book = Ledger(memory)
        assert (book.seen(NAME), book.told(NAME), book.used(key("rate"), 60.0, 110.0)) == (42.0, (43.0, 43.0), 2)
        book.note(key("tag", 2), 1.0, 12.0)
        book.use(key("rate", 2), 60.0, 110.0)
        book = Ledger(memory)
        assert (book.seen(NAME), book.seen(key("tag", 2))) == (42.0, 1.0)

    @pytest.mark.parametrize("offset", [8, 40, 56, 60])
    def test_an_entry_that_was_half_written_does_not_count(self, offset: int) -> None:
        memory = bytearray(SIZE)
        Ledger(memory).note(NAME, 42.0, 1.0)
        at = next(at for at in range(SIZE) if memory[at : at + 8] == NAME)
        memory[at + offset] ^= 1
        assert Ledger(memory).seen(NAME) is None

    def test_the_longest_unused_is_still_the_first_to_go(self) -> None:
        memory = bytearray(SIZE)
        book = Ledger(memory)
        for number in reversed(range(RATES)):
            book.use(key("rate", number), 60.0, 1000.0 - number / 100)
        book = Ledger(memory)
        book.use(key("another"), 60.0, 2000.0)
        assert book.used(key("rate", RATES - 1), 60.0, 1000.0) > 60000  # it is gone, and no place is free
        assert book.used(key("rate", 0), 60.0, 1000.0) == 1
