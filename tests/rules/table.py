"""Every behaviour that tcp-rules.md states, with the tests that show it and the change that takes it away."""

from __future__ import annotations

from tests.rules.entry import Entry
from tests.rules.sections_1_to_3 import ENTRIES as BEGINNING
from tests.rules.sections_4_to_6 import ENTRIES as WHOLE_UNITS
from tests.rules.sections_7_to_9 import ENTRIES as DENIED
from tests.rules.sections_10_to_12 import ENTRIES as REST
from tests.rules.short_way import ENTRIES as SHORT_WAY

ENTRIES: tuple[Entry, ...] = (*BEGINNING, *WHOLE_UNITS, *DENIED, *REST, *SHORT_WAY)
