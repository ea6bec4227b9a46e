"""conduitfw: a protocol-aware conduit firewall for operational technology."""

__version__ = "0.1.0"
