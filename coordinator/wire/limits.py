"""How often one address, and all together, may call the open door."""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from protocols.errors import Code, RemoteError

MAX_ADDRESSES = 4096


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at_s: float


class RateLimiter:
    """Token buckets: one per address, one for everybody. Safe to call from any thread.

    Args:
        per_minute: calls per address; the same number may come at once.
        per_minute_total: calls of all addresses together.
        clock: monotonic seconds.
    """

    def __init__(self, per_minute: int, per_minute_total: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._per_minute_total = per_minute_total
        self._clock = clock
        self._lock = threading.Lock()
        self._all = _Bucket(per_minute_total, clock())
        self._each: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, peer: str) -> None:
        """Count one call; RemoteError with the seconds to wait if it is one too many.

        An address that is over its own limit does not use up what is left for the others.
        """
        group = peer_group(peer)
        with self._lock:
            now = self._clock()
            own = self._each.setdefault(group, _Bucket(self._per_minute, now))
            self._each.move_to_end(group)
            while len(self._each) > MAX_ADDRESSES:
                self._each.popitem(last=False)
            wait_s = max(
                _wait_s(own, self._per_minute, now), _wait_s(self._all, self._per_minute_total, now)
            )
            if wait_s == 0:
                own.tokens -= 1
                self._all.tokens -= 1
                return
        raise RemoteError(
            f"too many requests came; the next is taken in {math.ceil(wait_s)} s.",
            peer=group,
            code=Code.UNAVAILABLE,
            fix="Wait and try again.",
        )


def _wait_s(bucket: _Bucket, per_minute: int, now: float) -> float:
    """Refill; seconds until there is a whole token."""
    rate = per_minute / 60
    bucket.tokens = min(per_minute, bucket.tokens + (now - bucket.filled_at_s) * rate)
    bucket.filled_at_s = now
    return 0.0 if bucket.tokens >= 1 else (1 - bucket.tokens) / rate


def peer_group(peer: str) -> str:
    """gRPC's peer text without its port; an IPv6 network of 64 bits counts as one address."""
    kind, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]")
    if kind == "ipv6":
        try:
            network = ipaddress.ip_network(f"{host.partition('%')[0]}/64", strict=False)
        except ValueError:
            return peer
        mapped = ipaddress.IPv6Address(host.partition("%")[0]).ipv4_mapped
        return str(mapped or network)
    return host or peer
