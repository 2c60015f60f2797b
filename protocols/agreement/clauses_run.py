"""Clauses about what runs: purposes, datasets, workloads, contribution.

SPEC.md section 6.2; the rules of ``clauses_parties`` hold here too.
"""

from __future__ import annotations

from protocols.agreement.base import same_json
from protocols.agreement.facts import Facts, MemberFacts, Request
from protocols.agreement.saying import (
    Says,
    no,
    short,
    some,
    unknown,
)
from protocols.agreement.terms import (
    Contribution,
    Datasets,
    Purposes,
    Quality,
    SharedCategories,
    Terms,
    Workloads,
    WorkloadTerms,
    weight_cap,
)
from protocols.permit import Gate

CATEGORY = "category_code"  # the column whose values the members have to share


def purposes(terms: Terms, request: Request, facts: Facts) -> Says:
    """c07: the purpose is allowed and not forbidden."""
    block = terms.block("c07", Purposes)
    if block is None:
        return
    asked = {request.order.purpose}
    if request.gate is Gate.USE:
        asked.add(request.purpose)
    for purpose in sorted(asked):
        allowed = ", ".join(block.allowed)
        if purpose in block.forbidden:
            yield no("c07", purpose, allowed, f"the purpose {purpose!r} is forbidden")
        elif purpose not in block.allowed:
            yield no(
                "c07",
                purpose,
                allowed,
                f"the purpose {purpose!r} is not among the allowed ones ({allowed})",
            )


def datasets(terms: Terms, request: Request, facts: Facts) -> Says:
    """c08: every column is declared."""
    block = terms.block("c08", Datasets)
    if block is None:
        return
    extra = set(request.order.columns) - block.columns
    if extra:
        yield no(
            "c08",
            some(extra),
            f"{len(block.columns) // 2} declared columns",
            f"the columns {some(extra)} are not declared in this clause",
        )


def quality(terms: Terms, request: Request, facts: Facts) -> Says:
    """c09: healthy and recent data here; nobody in the cohort is known to lack it."""
    block = terms.block("c09", Quality)
    if block is None or request.gate not in (Gate.LAUNCH, Gate.ADMIT):
        return
    if request.gate is Gate.LAUNCH:
        poor = facts.office.quality_unknown if facts.office is not None else None
        if poor is None:
            yield unknown("c09", "which members lately had no data of the agreed quality")
        elif poor & set(request.order.cohort):
            asked = poor & set(request.order.cohort)
            yield no(
                "c09",
                len(asked),
                0,
                f"{len(asked)} members of the cohort lately had no data of the agreed quality, "
                f"0 may be asked: {some({one[:16] for one in asked})}",
            )
        return
    yield from _health(block, facts.mine)
    plain = {column.rpartition(".")[2] for column in request.order.columns}
    if block.taxonomy is not None and CATEGORY in plain:
        yield from _categories(block.taxonomy, facts.mine)


def _health(block: Quality, mine: MemberFacts | None) -> Says:
    health = mine.health if mine is not None else None
    if health is None:
        yield unknown("c09", "the health of the data that the order reads")
    elif not block.min_health <= health <= 100:  # also not a number
        yield no(
            "c09",
            f"{health:.1f}",
            block.min_health,
            f"the data has a health of {health:.1f} out of 100, at least {block.min_health} is "
            "needed",
            outside=f"the data of this node has a health below {block.min_health} out of 100",
        )
    age = mine.data_age_days if mine is not None else None
    if age is None:
        yield unknown("c09", "the age of the newest row")
    elif age > block.max_age_days:
        yield no(
            "c09",
            f"{age} days",
            f"{block.max_age_days} days",
            f"the newest row is {age} days old, at most {block.max_age_days} are agreed",
            outside=f"the newest row of this node is more than {block.max_age_days} days old",
        )


def _categories(agreed: SharedCategories, mine: MemberFacts | None) -> Says:
    """The members mean the same by a category: one list, and enough lines under it."""
    used = mine.taxonomy if mine is not None else ""
    if not used:
        yield unknown("c09", "the list of categories that this node uses")
    elif used != agreed.sha256:
        yield no(
            "c09",
            used[:16],
            agreed.sha256[:16],
            f"this node maps its categories to the list {used[:16]}, agreed is {agreed.id} "
            f"({agreed.sha256[:16]})",
            outside=f"this node does not use the list of categories {agreed.id}",
        )
    mapped = mine.mapped_percent if mine is not None else None
    if mapped is None:
        yield unknown("c09", "how many sales lines have a category of the agreed list")
    elif not agreed.min_mapped_percent <= mapped <= 100:  # also not a number
        yield no(
            "c09",
            f"{mapped:.1f} %",
            f"{agreed.min_mapped_percent} %",
            f"{mapped:.1f} % of the sales lines have a category of the agreed list, at least "
            f"{agreed.min_mapped_percent} % are needed",
            outside=f"fewer than {agreed.min_mapped_percent} % of the sales lines of this node "
            "have a category of the agreed list",
        )


def workloads(terms: Terms, request: Request, facts: Facts) -> Says:
    """c13: a listed and installed recipe, its purpose, columns, rounds and settings."""
    block = terms.block("c13", Workloads)
    if block is None:
        return
    order = request.order
    entry = block.by_digest(order.workload.digest)
    if entry is None:
        listed = ", ".join(f"{one.id} {one.version} {one.digest[:16]}" for one in block.workloads)
        yield no(
            "c13",
            order.workload.digest[:16],
            listed,
            f"the code digest {order.workload.digest[:16]} of workload {order.workload.id!r} is "
            f"not listed (listed: {listed})",
        )
        return
    installed = facts.mine.installed if facts.mine is not None else frozenset()
    if request.gate is Gate.ADMIT and entry.digest not in installed:
        yield no(
            "c13",
            "not installed",
            entry.digest[:16],
            f"workload {entry.id} {entry.version} with digest {entry.digest[:16]} is not "
            "installed on this node; install the same version of datacoop as the others",
        )
    yield from _entry(entry, request)


def _entry(entry: WorkloadTerms, request: Request) -> Says:
    order = request.order
    named = (order.workload.id, order.workload.version)
    if named != (entry.id, entry.version):
        yield no(
            "c13",
            f"{named[0]} {named[1]}",
            f"{entry.id} {entry.version}",
            f"the digest belongs to {entry.id} {entry.version}, the order calls it "
            f"{named[0]} {named[1]}",
        )
    if order.purpose != entry.purpose:
        yield no(
            "c13",
            order.purpose,
            entry.purpose,
            f"workload {entry.id} serves {entry.purpose!r}, the order says {order.purpose!r}",
        )
    extra = set(order.columns) - set(entry.columns)
    if extra:
        yield no(
            "c13",
            some(extra),
            f"{len(entry.columns)} columns",
            f"workload {entry.id} does not read the columns {some(extra)}",
        )
    if order.rounds > entry.max_rounds:
        yield no(
            "c13",
            order.rounds,
            entry.max_rounds,
            f"the run would take {order.rounds} rounds, at most {entry.max_rounds} are allowed",
        )
    yield from _settings(entry, request)


def _settings(entry: WorkloadTerms, request: Request) -> Says:
    config = request.order.config
    for key in sorted(entry.config):
        if key not in config:
            yield no(
                "c13", "missing", entry.config[key], f"the setting {key!r} is not in the order"
            )
        elif not same_json(config[key], entry.config[key]):
            yield no(
                "c13",
                f"{key} = {short(config[key])}",
                f"{key} = {short(entry.config[key])}",
                f"the setting {key!r} is {short(config[key])}, agreed is "
                f"{short(entry.config[key])}",
            )
    extra = set(config) - set(entry.config) - set(entry.free)
    if extra:
        yield no(
            "c13",
            some(extra),
            "no other setting",
            f"the settings {some(extra)} are neither agreed nor free to choose",
        )


def contribution(terms: Terms, request: Request, facts: Facts) -> Says:
    """c17: enough history and rows, and no member outweighs the others."""
    block = terms.block("c17", Contribution)
    if block is None or request.gate not in (Gate.LAUNCH, Gate.ADMIT):
        return
    weight = request.order.config.get("w_max")
    cap = min(block.w_max, weight_cap(request.order.min_cohort))
    if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= cap:
        yield no(
            "c17",
            short(weight),
            f"1 to {cap}",
            f"the largest weight of a member (w_max) is {short(weight)}, it must be a whole "
            f"number from 1 to {cap}",
        )
    if request.gate is not Gate.ADMIT:
        return
    weeks, rows = (facts.mine.weeks_history, facts.mine.rows) if facts.mine else (0, 0)
    if weeks < block.min_weeks:
        yield no(
            "c17",
            weeks,
            block.min_weeks,
            f"this node has {weeks} weeks of history, at least {block.min_weeks} are needed",
            outside=f"this node has fewer than {block.min_weeks} weeks of history",
        )
    if rows < block.min_rows:
        yield no(
            "c17",
            rows,
            block.min_rows,
            f"this node has {rows} rows, at least {block.min_rows} are needed",
            outside=f"this node has fewer than {block.min_rows} rows",
        )
