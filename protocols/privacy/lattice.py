"""How sums of discrete Gaussian shares compare with one Gaussian (SPEC.md section 5.1).

Source: Kairouz, Liu, Steinke (2021), arXiv 2102.06387, Theorem 1 and Corollary 12; Canonne, Kamath,
Steinke (2020), arXiv 2004.00010, Theorem 4.
"""

from __future__ import annotations

import math

from protocols.errors import LocalError


def share_excess(sigma_local: float, shares: int) -> float:
    """tau: the sum of ``shares`` discrete Gaussians is within e^(+-tau) of one, per coordinate.

    ``10 sum_{k=1}^{m-1} exp(-2 pi^2 sigma^2 k/(k+1))``; 0 to double precision from a sigma of 9.
    """
    if shares < 1 or not sigma_local > 0:
        raise LocalError(f"{shares} shares of noise of {sigma_local} whole units are no noise.")
    exponent = -2 * math.pi**2 * sigma_local * sigma_local
    return 10 * sum(math.exp(exponent * k / (k + 1)) for k in range(1, shares))


def concentrated_epsilon(norm: float, sigma_local: float, shares: int, dim: int) -> float:
    """One sum is ``epsilon^2 / 2``-zCDP with this epsilon; 1/epsilon is its noise multiplier.

    ``min(sqrt(D^2/(m s^2) + tau d/2), D/(sqrt(m) s) + tau sqrt(d))``.

    Args:
        norm: D, the L2 norm of the most that one unit adds, whole units.
        sigma_local: s, of each share.
        shares: m, honest shares.
        dim: d, coordinates.
    """
    tau = share_excess(sigma_local, shares)
    ratio = norm / (math.sqrt(shares) * sigma_local)
    return min(math.sqrt(ratio * ratio + tau * dim / 2), ratio + tau * math.sqrt(dim))


def gaussian_distance(sigma_local: float, shares: int, count: int) -> float:
    """Statistical distance of sums' noise from continuous Gaussian noise, rounded; at most 1.

    Rounded Gaussian noise is post-processing of the Gaussian mechanism, because the sums are whole
    units. With s^2 = m sigma^2, t and u uniform in [-1/2, 1/2], and the discrete Gaussian's moments
    at most the continuous ones, the chi-squared divergence of a coordinate from the lattice is
    below ``E exp(t u / s^2) - 1 < (1 + s^-4) / (288 s^4)``. Divergences of independent coordinates
    add, and by Pinsker's inequality ``count`` of them are within ``sqrt(count) / (23 s^2)`` for s
    of 2 or more. The sum of shares adds at most ``2 tau`` a coordinate.

    Args:
        sigma_local: of each share.
        shares: m, honest shares.
        count: coordinates of all sums together.
    """
    tau = share_excess(sigma_local, shares)
    variance = shares * sigma_local * sigma_local
    if variance < 4 or tau > 1:
        return 1.0
    return min(1.0, math.sqrt(count) / (23 * variance) + 2 * tau * count)
