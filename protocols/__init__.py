"""What the parties agreed: pure code, no clock, disk, network, threads or logging."""

PROTOCOL_VERSION = 2
