"""From opened shares to the sum: secrets, blame, masks off (SPEC.md sections 4.6 and 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, islice

import numpy as np

from protocols.errors import Code, RemoteError
from protocols.secagg import masks, shamir
from protocols.secagg.fixedpoint import Lanes, Sums, centre
from protocols.secagg.messages import Advertisement, UnmaskReply, blaming
from protocols.secagg.params import RoundDescriptor, noise_reach, value_bound
from protocols.secagg.shamir import Words
from protocols.secagg.topology import Topology

MAX_TRIES = 5_000
_KEYS_AT_ONCE = 1_024
Pair = tuple[bytes, bytes]  # (owner, holder) of a share that does not fit


@dataclass(frozen=True, slots=True)
class Blame:
    """A member that was wrong in this round, and how, in plain words."""

    member: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the shares gave: b of every survivor, seed of everybody who dropped out."""

    own: Mapping[bytes, bytes] = field(repr=False)
    seeds: Mapping[bytes, bytes] = field(repr=False)
    blamed: tuple[Blame, ...]


@dataclass(frozen=True, slots=True)
class _Pool:
    """All opened shares, by owner, then by holder; ``starts`` bounds the rows of each owner."""

    starts: Words
    holders: Words  # indices into the descriptor's ids
    values: Words  # (shares, 16)

    def of(self, number: int) -> slice:
        """Rows of one owner."""
        return slice(int(self.starts[number]), int(self.starts[number + 1]))


def recover(
    descriptor: RoundDescriptor,
    topology: Topology,
    advertisements: Mapping[bytes, Advertisement],
    survivors: Sequence[bytes],
    gone: Sequence[bytes],
    replies: Mapping[bytes, UnmaskReply],
) -> Secrets:
    """Reconstruct every secret and check it against what its owner advertised.

    Args:
        descriptor: gives the ids and the threshold.
        topology: who holds shares of whom.
        advertisements: by member, of U1.
        survivors: U3, ascending: their b is reconstructed.
        gone: U2 without U3, ascending: their seeds are reconstructed.
        replies: each with shares of exactly those of these owners that its sender holds.

    Raises:
        RemoteError: an owner's secret cannot be reconstructed from these replies.
    """
    owners = (*survivors, *gone)
    pool = _pool(topology, owners, replies)
    t = descriptor.threshold
    counts = np.diff(pool.starts)
    if counts.min() < t:
        short = int(counts.argmin())
        raise _no_subset(owners[short], t, int(counts[short]))
    found = _first_guess(pool, t)
    wrong: list[Pair] = []
    for number, owner in enumerate(owners):
        ad, own = advertisements[owner], number < len(survivors)
        if _fits(found[number], ad, own):
            continue
        rows = pool.of(number)
        part, points = pool.values[rows], (pool.holders[rows] + 1).tolist()
        holders = [descriptor.ids[point - 1] for point in points]
        suspects = {holder for _, holder in wrong}
        order = sorted(range(len(holders)), key=lambda m: holders[m] in suspects)
        hit = _search(points, part, _subsets(order, t), partial(_fits, ad=ad, own=own))
        if hit is None:
            raise _no_subset(owner, t, len(holders))
        chosen, found[number] = hit
        right = shamir.evaluate(
            shamir.weights_at([points[m] for m in chosen], points), part[chosen]
        )
        wrong += [(owner, holders[m]) for m in range(len(holders)) if (right[m] != part[m]).any()]
    split = len(survivors)
    return Secrets(
        dict(zip(survivors, found[:split], strict=True)),
        dict(zip(gone, found[split:], strict=True)),
        _blame(wrong),
    )


def _pool(
    topology: Topology, owners: Sequence[bytes], replies: Mapping[bytes, UnmaskReply]
) -> _Pool:
    place = {owner: number for number, owner in enumerate(owners)}
    whose: list[int] = []
    holders: list[int] = []
    values: list[Words] = [np.empty((0, shamir.SECRET_WORDS), dtype=np.int64)]
    for holder in sorted(replies):
        opened = (*replies[holder].own_shares, *replies[holder].seed_shares)
        whose += [place[one.owner] for one in opened]
        holders += [topology.index(holder)] * len(opened)
        values.append(shamir.share_rows([one.share for one in opened]))
    numbers = np.array(whose, dtype=np.int64)
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(owners) + 1))
    return _Pool(starts, np.array(holders, dtype=np.int64)[order], np.concatenate(values)[order])


def _first_guess(pool: _Pool, t: int) -> list[bytes]:
    """Every owner's secret from its first ``t`` shares; empty where they cannot be a secret's."""
    rows = pool.starts[:-1, np.newaxis] + np.arange(t)
    points = pool.holders[rows] + 1
    if (points == points[0]).all():  # all hold of all: one set of weights serves
        weights = np.broadcast_to(shamir.zero_weights(points[:1]), points.shape)
    else:
        weights = shamir.zero_weights(points)
    return list(shamir.combine(weights, pool.values[rows]))


def _no_subset(owner: bytes, threshold: int, answers: int) -> RemoteError:
    return RemoteError(
        f"no {threshold} of the {answers} shares of {owner.hex()[:16]} give its secret.",
        peer=owner.hex(),
        code=Code.TAMPERED,
        where="unmask",
        fix="Wait for more answers, or end the run: this round cannot be finished without them.",
    )


def _fits(secret: bytes, ad: Advertisement, own: bool) -> bool:
    if not secret:
        return False
    if own:
        return masks.commitment(secret) == ad.commitment
    return masks.public_of(masks.mask_secret(secret)) == ad.s_public


def _subsets(order: Sequence[int], threshold: int) -> Iterator[list[int]]:
    """The first ``threshold`` of what stays when none, one, two .. are left out; each set once."""
    seen: set[tuple[int, ...]] = set()
    for leave in range(len(order) - threshold + 1):
        for out in combinations(range(len(order)), leave):
            kept = [m for place, m in enumerate(order) if place not in out][:threshold]
            if tuple(kept) not in seen:
                seen.add(tuple(kept))
                yield kept


def _search(
    points: Sequence[int],
    shares: shamir.Words,
    subsets: Iterator[list[int]],
    fits: Callable[[bytes], bool],
) -> tuple[list[int], bytes] | None:
    for chosen in islice(subsets, MAX_TRIES):
        weights = shamir.weights_at([points[m] for m in chosen], [0])
        (secret,) = shamir.combine(weights, shares[np.newaxis, chosen])
        if fits(secret):
            return chosen, secret
    return None


def _blame(wrong: Sequence[Pair]) -> tuple[Blame, ...]:
    """Whoever stands in most pairs that differ; the owner in a tie (SPEC.md section 6)."""
    left, blamed = set(wrong), []
    while left:
        as_owner = _counts(owner for owner, _ in left)
        as_holder = _counts(holder for _, holder in left)
        owner = max(sorted(as_owner), key=as_owner.__getitem__)
        holder = max(sorted(as_holder), key=as_holder.__getitem__)
        if as_owner[owner] >= as_holder[holder]:
            reason = f"it dealt wrong shares of its secrets to {as_owner[owner]} member(s)"
            if as_owner[owner] == 1:
                reason += f", or the holder {_holder_of(owner, left).hex()[:16]} returned one"
            blamed.append(Blame(owner, reason + "."))
            left = {pair for pair in left if pair[0] != owner}
        else:
            blamed.append(
                Blame(holder, f"it returned wrong shares of {as_holder[holder]} member(s).")
            )
            left = {pair for pair in left if pair[1] != holder}
    return tuple(blamed)


def _counts(members: Iterator[bytes]) -> dict[bytes, int]:
    counts: dict[bytes, int] = {}
    for one in members:
        counts[one] = counts.get(one, 0) + 1
    return counts


def _holder_of(owner: bytes, pairs: set[Pair]) -> bytes:
    return next(holder for one, holder in pairs if one == owner)


def mask_keys(
    topology: Topology,
    a2: bytes,
    advertisements: Mapping[bytes, Advertisement],
    secrets: Secrets,
) -> tuple[list[bytes], list[bytes]]:
    """Keys of every mask that is left in the sum over U3: to add, and to subtract."""
    plus: list[bytes] = []
    minus = [masks.self_key(own, a2, member) for member, own in secrets.own.items()]
    survivors = tuple(secrets.own)
    for dropped, seed in secrets.seeds.items():
        secret = masks.loaded(masks.mask_secret(seed))
        for survivor in topology.among(dropped, survivors):
            with blaming(dropped.hex(), "mask key"):
                shared = masks.exchange(secret, advertisements[survivor].s_public)
            key = masks.mask_key(shared, a2, survivor, dropped)
            (minus if survivor < dropped else plus).append(key)
    return plus, minus


def take_off(total: Lanes, plus: Sequence[bytes], minus: Sequence[bytes], first: int = 0) -> None:
    """Add and subtract masks from coordinate ``first`` on, in place, modulo 2^32."""
    for keys, up in ((plus, True), (minus, False)):
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            masks.add_masks(total, some if up else [], [] if up else some, first)


def read_sum(total: Lanes, survivors: int, descriptor: RoundDescriptor) -> tuple[Sums, int]:
    """Signed sums ``(dim,)`` and the sum of weights from unmasked lanes.

    Raises:
        RemoteError: outside what that many members can produce: somebody sent a vector that is not
            what the protocol says.
    """
    total &= masks.low_bits(descriptor.bits)
    signed = centre(total, descriptor.bits)
    values, weight_sum = signed[: descriptor.dim], int(signed[descriptor.dim])
    check_range(values, weight_sum, survivors, descriptor)
    return values, weight_sum


def check_range(values: Sums, weight_sum: int, survivors: int, descriptor: RoundDescriptor) -> None:
    """RemoteError unless ``survivors`` honest members could have produced these sums."""
    bound = survivors * value_bound(descriptor.scale, descriptor.clip)
    bound += noise_reach(survivors, descriptor.sigma_local)
    largest = max(int(values.max()), -int(values.min()))
    if largest > bound or not survivors <= weight_sum <= survivors * descriptor.w_max:
        raise RemoteError(
            f"the sum of {survivors} members has a coordinate of {largest} (at most {bound}) and "
            f"weights of {weight_sum} ({survivors} to {survivors * descriptor.w_max}).",
            code=Code.TAMPERED,
            where="sum",
            fix="A member did not follow the protocol; the round's result is thrown away.",
        )
