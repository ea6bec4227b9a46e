"""Copies for people and monitoring: events, metrics. Nothing here is in the packet path."""
