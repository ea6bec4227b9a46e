"""How much slower than a machine this is: an emulated one needs more patience, and no other test."""

from __future__ import annotations

import os

PACE = float(os.environ.get("CONDUITFW_PACE", "1"))
