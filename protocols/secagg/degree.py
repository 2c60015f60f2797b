"""Degree and threshold of the sparse graph, by exact arithmetic (SPEC.md section 2).

In a random circulant graph the neighbourhood of a member is a uniformly random set of k others,
so the number of colluders, or of members that vanish, among them is exactly hypergeometric. The
tails are compared as whole numbers: a float near 2^-80 would leave two machines arguing.
"""

from __future__ import annotations

from functools import cache
from math import comb

from protocols.errors import InputError

SIGMA = 80  # bits; a coordinator can try many graphs by its choice of U1 and of late nonces
LIVENESS_BITS = 20  # an unlucky draw of this kind only costs a round


@cache
def sparse_parameters(
    n: int, colluders: int, max_dropout_percent: int, sigma: int = SIGMA
) -> tuple[int, int]:
    """The smallest even degree k, and for it the smallest threshold t, that keep ``n`` members.

    With C colluders and D = ceil(n * max_dropout_percent / 100) members that vanish, all among the
    n - 1 others of a member, and a union bound over the n members:

    - n * P[at least t of k neighbours collude] <= 2^-(sigma + 1): no secret is rebuilt without
      an honest neighbour;
    - n * P[fewer than t of k neighbours stay] <= 2^-20: a round seldom fails for want of shares;
    - n * P[all k neighbours collude or vanish] <= 2^-(sigma + 1): no honest member is left alone
      with its own mask, so that the honest survivors' graph is connected (isolated members
      dominate disconnection).

    k is even because the graph is a circulant: k / 2 neighbours on either side.

    Args:
        n: members of the descriptor.
        colluders: C itself, 1 or more; nothing is rounded.
        max_dropout_percent: 1 to 99; D is rounded up.
        sigma: bits of statistical security.

    Raises:
        InputError: no degree below n is safe.

    Source: Bell, Bonawitz, Gascon, Lepoint, Raykova, "Secure Single-Server Aggregation with
    (Poly)Logarithmic Overhead" (CCS 2020), with exact tails and the quorum certificate's weaker
    demand on t.
    """
    vanish = -(-n * max_dropout_percent // 100)
    if colluders >= 1 and 1 <= max_dropout_percent <= 99 and colluders + vanish < n - 1:
        for k in range(2, n, 2):
            t = _threshold(n, colluders, vanish, k, sigma)
            if t:
                return k, t
    raise InputError(
        f"{n} members cannot bear {colluders} colluders while {max_dropout_percent} % drop out.",
        where="round parameters",
        fix="Lower the number of colluders or the share of members that may drop out.",
    )


def _threshold(n: int, colluders: int, vanish: int, k: int, sigma: int) -> int:
    """The smallest safe t for degree k; 0 if there is none or it breaks another rule."""
    sets = comb(n - 1, k)
    rare = sets // (n << (sigma + 1))  # so many of the sets may be bad
    if comb(colluders + vanish, k) > rare:
        return 0
    t = _least_above(n - 1, colluders, k, rare)
    if t > k:
        return 0
    few = _within(n - 1, n - 1 - vanish, k, t, sets // (n << LIVENESS_BITS))
    return t if few else 0


def _least_above(others: int, marked: int, k: int, allowed: int) -> int:
    """The smallest t such that at most ``allowed`` k-sets of ``others`` hold t or more marked."""
    x = min(k, marked)
    term = comb(marked, x) * comb(others - marked, k - x)
    while x > 0:
        allowed -= term
        if allowed < 0:
            break
        # the next term down, exact: C(m,x-1)C(o-m,k-x+1) from C(m,x)C(o-m,k-x)
        term = term * (x * (others - marked - k + x)) // ((marked - x + 1) * (k - x + 1))
        x -= 1
    return x + 1


def _within(others: int, marked: int, k: int, t: int, allowed: int) -> bool:
    """Whether at most ``allowed`` k-sets of ``others`` hold fewer than t marked."""
    x = max(0, k - (others - marked))
    term = comb(marked, x) * comb(others - marked, k - x)
    while x < t:
        allowed -= term
        if allowed < 0:
            return False
        term = term * ((marked - x) * (k - x)) // ((x + 1) * (others - marked - k + x + 1))
        x += 1
    return True
