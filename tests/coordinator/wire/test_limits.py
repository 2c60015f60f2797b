"""Token buckets per address and for all, with a clock that stands still."""

from __future__ import annotations

import pytest

from coordinator.wire import limits
from coordinator.wire.limits import RateLimiter, peer_group
from protocols.errors import RemoteError


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def spent(limiter: RateLimiter, peer: str, most: int = 1000) -> int:
    for count in range(most):
        try:
            limiter.take(peer)
        except RemoteError:
            return count
    return most


def test_an_address_has_its_share_and_gets_it_back() -> None:
    clock = Clock()
    limiter = RateLimiter(6, 1000, clock)
    assert spent(limiter, "ipv4:10.0.0.1:5000") == 6
    with pytest.raises(RemoteError, match="in 10 s") as caught:
        limiter.take("ipv4:10.0.0.1:5001")
    assert caught.value.kind.exit_code == 75
    assert spent(limiter, "ipv4:10.0.0.2:5000") == 6
    clock.now_s += 20
    assert spent(limiter, "ipv4:10.0.0.1:5000") == 2
    clock.now_s += 3600
    assert spent(limiter, "ipv4:10.0.0.1:5000") == 6


def test_all_together_have_a_limit_that_one_cannot_use_up() -> None:
    clock = Clock()
    limiter = RateLimiter(6, 10, clock)
    assert spent(limiter, "ipv4:10.0.0.1:1") == 6
    for _ in range(50):
        with pytest.raises(RemoteError):
            limiter.take("ipv4:10.0.0.1:1")
    assert spent(limiter, "ipv4:10.0.0.2:1") == 4


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 3)
    limiter = RateLimiter(1, 1000, Clock())
    for number in range(10):
        limiter.take(f"ipv4:10.0.0.{number}:1")
    assert len(limiter._each) == 3


@pytest.mark.parametrize(
    ("peer", "group"),
    [
        ("ipv4:10.0.0.1:5000", "10.0.0.1"),
        ("ipv6:[2001:db8:1:2::7]:5000", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2:ffff::9%5D:5000", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.0.0.1]:5000", "10.0.0.1"),
        ("ipv6:[fe80::1%eth0]:5000", "fe80::/64"),
        ("unix:", "unix:"),
        ("ipv6:nonsense:1", "ipv6:nonsense:1"),
    ],
)
def test_peers_are_grouped_by_address(peer: str, group: str) -> None:
    assert peer_group(peer) == group
