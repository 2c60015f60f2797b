"""Clauses about results: outputs and the competition guard.

SPEC.md section 6.2; the rules of ``clauses_parties`` hold here too.
"""

from __future__ import annotations

import math

from protocols.agreement.facts import Facts, Request
from protocols.agreement.saying import (
    Says,
    no,
    some,
)
from protocols.agreement.terms import NEVER_RELEASED, PROFILES, Competition, Outputs, Terms
from protocols.permit import Gate

MADE = ("metrics", "model")
"""Kinds of results that this version can make; figures are not among them."""


def outputs(terms: Terms, request: Request, facts: Facts) -> Says:
    """c15: only agreed kinds of results, from enough members, and better than the baseline."""
    block = terms.block("c15", Outputs)
    if block is None:
        return
    if request.gate in (Gate.LAUNCH, Gate.RELEASE):
        yield from _capable(block)
    if request.gate not in (Gate.RELEASE, Gate.USE):
        return
    yield from _kinds(block, request)
    figures = facts.figures
    if figures is None:
        yield no("c15", "none", "evaluated figures", "the run has no evaluated figures")
        return
    guard = terms.block("c27", Competition)
    least = max(block.min_contributors, _profile_minimum(guard))
    if figures.contributors < least:
        yield no(
            "c15",
            figures.contributors,
            least,
            f"{figures.contributors} members reported figures, at least {least} are needed",
        )
    limit = figures.baseline_error * (1 - block.min_gain_percent / 100)
    good = math.isfinite(limit) and math.isfinite(figures.blend_error)
    if not (good and 0 <= figures.blend_error < limit):
        yield no(
            "c15",
            f"{figures.blend_error:.4f}",
            f"below {limit:.4f}",
            f"the blend's error ({figures.measure}) is {figures.blend_error:.4f}, it must be below "
            f"{limit:.4f} (the members' own baseline {figures.baseline_error:.4f}, "
            f"{block.min_gain_percent:g} % better)",
        )


def _capable(block: Outputs) -> Says:
    """A kind that nobody can make would be agreed, signed and never looked at."""
    others = set(block.release) - set(MADE) - set(block.never) - set(NEVER_RELEASED)
    if others:
        made = ", ".join(MADE)
        yield no(
            "c15",
            some(others),
            made,
            f"the clause lets {some(others)} leave a run, and this version of datacoop cannot "
            f"make that (it makes {made})",
        )


def _kinds(block: Outputs, request: Request) -> Says:
    if not request.outputs:
        yield no("c15", "nothing", ", ".join(block.release), "nothing to release was named")
    for kind in sorted(set(request.outputs)):
        if kind in block.never or kind in NEVER_RELEASED:
            yield no("c15", kind, ", ".join(block.release), f"{kind!r} is never released")
        elif kind not in block.release:
            yield no(
                "c15",
                kind,
                ", ".join(block.release),
                f"{kind!r} is not among the results that may be released "
                f"({', '.join(block.release)})",
            )


def competition(terms: Terms, request: Request, facts: Facts) -> Says:
    """c27: enough contributors for the profile, no member above its share."""
    block = terms.block("c27", Competition)
    if block is None:
        return
    order, least = request.order, _profile_minimum(block)
    for what, count in (("cohort", len(order.cohort)), ("smallest sum", order.min_cohort)):
        if count < least:
            yield no(
                "c27",
                count,
                least,
                f"the {what} has {count} members, competition profile {block.profile} asks for "
                f"at least {least}",
            )
    weight = order.config.get("w_max")
    if isinstance(weight, int) and weight >= 1 and order.min_cohort >= 1:
        limit = min(block.max_weight_percent, PROFILES[block.profile].max_weight_percent)
        share = 100 * weight / (weight + order.min_cohort - 1)
        if share > limit:
            yield no(
                "c27",
                f"{share:.0f} %",
                f"{limit} %",
                f"one member could make up {share:.0f} % of a sum, at most {limit} % are allowed",
            )
    if request.gate in (Gate.RELEASE, Gate.USE):
        yield from _shown(block, request, facts)


def _shown(block: Competition, request: Request, facts: Facts) -> Says:
    """What a release shows: no blocked field, and no member behind too large a part of a figure."""
    profile = PROFILES[block.profile]
    blocked = {*block.blocked_fields, *profile.blocked_fields} & set(request.outputs)
    if blocked:
        yield no(
            "c27",
            some(blocked),
            "no blocked field",
            f"competition profile {block.profile} blocks {some(blocked)} in every result "
            f"({len({*block.blocked_fields, *profile.blocked_fields})} fields are blocked)",
        )
    figures = facts.figures
    if figures is None or figures.contributors < 1:
        return  # clause 15 has said no
    share, limit = (
        100 / figures.contributors,
        min(block.max_share_percent, profile.max_share_percent),
    )
    if share > limit:
        yield no(
            "c27",
            f"{share:.0f} %",
            f"{limit} %",
            f"with {figures.contributors} contributors each is behind {share:.0f} % of the "
            f"figures, at most {limit} % are allowed",
        )


def _profile_minimum(guard: Competition | None) -> int:
    if guard is None:
        return max(profile.min_contributors for profile in PROFILES.values())
    return max(guard.min_contributors, PROFILES[guard.profile].min_contributors)
