"""Faults, counted, under load: `make chaos` (docs/reliability.md), and a short version in every test run."""
