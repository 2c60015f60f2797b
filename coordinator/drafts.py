"""Drafts of agreements: what an operator prepares before anybody is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import coordinator
from coordinator import taxonomies
from coordinator.members.pki import Office
from protocols.agreement.authoring import Draft, Syntax, parse_draft
from protocols.agreement.check import Finding, check, errors
from protocols.agreement.findings import error, warning
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.source import MAX_SOURCE_BYTES
from protocols.agreement.template import make_agreement
from protocols.agreement.terms import (
    PROFILES,
    Competition,
    Governance,
    Roles,
    Sharing,
    Terms,
    Workloads,
)
from protocols.agreement.variants import complete
from protocols.agreement.writing import write
from protocols.canonical import Json, parse_json
from protocols.errors import InputError
from protocols.workloads import catalogue
from protocols.workloads.recipe import Workload

USUAL_WORKLOADS = ("demand",)
_AS_SETTINGS = (("operator_legal_id", "legal_id"), ("coordinator_country", "country"))


def installed_source(path: str) -> bytes:
    """Bytes of an installed source file, by its path from the packages' common folder."""
    return (Path(coordinator.__file__).resolve().parent.parent / path).read_bytes()


def template_names() -> tuple[str, ...]:
    """The packaged templates."""
    folder = resources.files("protocols.agreement").joinpath("templates")
    files = (one.name for one in folder.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in files if name.endswith(".json")))


def template_document(name: str) -> Json:
    """A packaged template, whole; InputError names those that exist."""
    return complete(name, _packaged)


def _packaged(name: str) -> Json:
    known = template_names()
    if name not in known:
        raise InputError(
            f"there is no template {name[:60]!r}.",
            where="--template",
            fix=f"Choose one of: {', '.join(known)}.",
        )
    folder = resources.files("protocols.agreement").joinpath("templates")
    return parse_json(folder.joinpath(f"{name}.json").read_bytes(), f"template {name}")


def workload_terms(
    workload: Workload, settings: Mapping[str, Any], max_rounds: int
) -> dict[str, Any]:
    """Clause 13's entry for an installed workload.

    Args:
        workload: of the catalogue.
        settings: settings that orders must match, on top of the defaults.
        max_rounds: rounds that an order may ask for.
    """
    fixed = {**workload.defaults, **settings}
    return {
        "id": workload.id,
        "version": workload.version,
        "digest": workload.digest(installed_source),
        "purpose": workload.purpose,
        "columns": list(workload.columns),
        "max_rounds": max_rounds,
        "config": {key: value for key, value in fixed.items() if key not in workload.free},
        "free": list(workload.free),
        "privacy": workload.claim,
    }


def installed_workload(name: str, where: str) -> Workload:
    """The installed workload of that id; InputError lists what there is."""
    known = {one.id: one for one in catalogue.CATALOGUE.values()}
    if name not in known:
        raise InputError(
            f"there is no workload {name[:60]!r}.",
            where=where,
            fix=f"Choose one of: {', '.join(sorted(known))}.",
        )
    return known[name]


def new_draft(
    office: Office,
    *,
    template: str,
    lasts: timedelta,
    workloads: Sequence[str],
    settings: Mapping[str, Any],
    max_rounds: int,
    figures: Mapping[str, Any],
    previous: ParsedAgreement | None,
    now: datetime,
    about: Mapping[str, str] | None = None,
) -> ParsedAgreement:
    """A filled template, as the first version or as the successor of ``previous``.

    The office's competition profile holds unless ``figures`` names a stricter one. ``settings``
    are those of the one workload, or an object of such by workload if there are several; no
    workload named means those of the template. ``about`` is what the office's settings say of
    itself (``legal_id``, ``country``), for the clauses that name it.

    Raises:
        InputError: a looser profile, a workload that is not installed, settings of none, or what
            ``make_agreement`` raises.
    """
    whole = template_document(template)
    known = {
        figure: about[name] for figure, name in _AS_SETTINGS if about is not None and about[name]
    }
    start = now.replace(minute=0, second=0, microsecond=0)
    rules = previous.terms.block("c05", Governance) if previous else None
    if rules is not None:
        start += timedelta(days=rules.notice_days)
    return make_agreement(
        whole,
        name=office.public.name,
        coop=office.public.coop,
        operator_key=office.public.operator_key.hex(),
        coordinator_key=office.public.coordinator_key.hex(),
        workloads=_agreed_workloads(
            workloads or whole.get("workloads", USUAL_WORKLOADS), settings, max_rounds
        ),
        starts=start,
        ends=start + lasts,
        figures=known | _with_profile(office.public.profile, whole["figures"], figures),
        version=previous.agreement.version + 1 if previous else 1,
        prev=previous.id if previous else None,
    )


def _agreed_workloads(
    names: Sequence[str], settings: Mapping[str, Any], max_rounds: int
) -> list[dict[str, Any]]:
    chosen = [installed_workload(name, "--workload") for name in sorted(set(names))]
    if len(chosen) == 1:
        return [workload_terms(chosen[0], settings, max_rounds)]
    ids = [one.id for one in chosen]
    bad = [key for key, value in settings.items() if key not in ids or not isinstance(value, dict)]
    if bad:
        raise InputError(
            f"the settings {', '.join(sorted(bad))} belong to no workload of this draft.",
            where="--settings",
            fix=f"Write one object for each of: {', '.join(ids)}.",
        )
    return [workload_terms(one, settings.get(one.id, {}), max_rounds) for one in chosen]


def _with_profile(
    declared: str, template: Mapping[str, Any], figures: Mapping[str, Any]
) -> dict[str, Any]:
    """Profiles A, B, C from loose to strict; figures follow the strictest that anybody names.

    A figure of the template that is stricter than the profile stays.
    """
    chosen = str(figures.get("profile", max(declared, str(template["profile"]))))
    if chosen not in PROFILES or chosen < declared:
        raise InputError(
            f"the competition profile {chosen!r} is not one, or is looser than {declared!r}, which"
            " this cooperative declared.",
            where="profile",
            fix="A: not competitors. B: same trade elsewhere. C: competitors. Only tighten it.",
        )
    least = PROFILES[chosen]
    names = ("profile_members", "min_cohort", "min_contributors", "min_members")
    followed: dict[str, Any] = {
        **{name: max(least.min_contributors, template[name]) for name in names},
        "max_weight_percent": min(least.max_weight_percent, template["max_weight_percent"]),
        "max_share_percent": min(least.max_share_percent, template["max_share_percent"]),
        "min_age_days": max(least.min_age_days, template["min_age_days"]),
    }
    return {**followed, **figures, "profile": chosen}


def read_draft(file: Path) -> Draft:
    """A draft from a file in TOML, YAML or JSON, by its name.

    Raises:
        InputError: not readable (with line and column), or not an agreement.
    """
    return parse_draft(draft_bytes(file), str(file))


def draft_bytes(file: Path) -> bytes:
    """At most one byte more than a draft may have, so that a huge file is not loaded."""
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_SOURCE_BYTES + 1)
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}.", where=str(file)) from error


def lint(draft: Draft, now: datetime) -> tuple[Finding, ...]:
    """What the linter says of a draft, errors first."""
    return check(draft.parsed.agreement, draft.parsed.terms, now)


def against_office(
    parsed: ParsedAgreement, office: Office, about: Mapping[str, str], home: Path | None = None
) -> tuple[Finding, ...]:
    """Where a draft names another office than the one that would propose it.

    Nothing would run under such an agreement: its gates compare the same figures. A profile that
    is looser than the declared one is no way around the declaration either. With the office's
    folder, also where it names a list of categories that is not there.
    """
    found = [
        error(
            "other-office",
            clause,
            field,
            f"the {what} is {written[:64]}, this office has {own[:64]}.",
            "Write the office's own, or change its settings.",
        )
        for clause, field, what, written, own in _office_figures(parsed.terms, office, about)
        if own and written != own
    ]
    guard, recipes = parsed.terms.block("c27", Competition), parsed.terms.block("c13", Workloads)
    if guard is not None and guard.profile < office.public.profile:
        found.append(
            error(
                "profile-declared",
                "c27",
                "profile",
                f"the profile is {guard.profile}, and this cooperative declared "
                f"{office.public.profile}.",
                "A profile can be tightened, never loosened.",
            )
        )
    listed = taxonomies.agreed(parsed.terms)
    if home is not None and listed is not None and taxonomies.here(home, listed) is None:
        found.append(
            warning(
                "categories-elsewhere",
                "c09",
                "taxonomy",
                f"this office does not have the list {listed.id} ({listed.sha256[:16]}); no run "
                "could take its categories.",
                "Take the figure from 'taxonomy show', or the list with 'taxonomy use FILE'.",
            )
        )
    here = {one.digest(installed_source) for one in catalogue.CATALOGUE.values()}
    found += [
        warning(
            "code-unknown",
            "c13",
            f"workloads.{number}.digest",
            f"the code of {entry.id} {entry.version} is not the one installed here; no order "
            "could name it.",
            "Take the fingerprint from a new draft.",
        )
        for number, entry in enumerate(recipes.workloads if recipes is not None else ())
        if entry.digest not in here
    ]
    return tuple(found)


def _office_figures(
    terms: Terms, office: Office, about: Mapping[str, str]
) -> Iterator[tuple[str, str, str, str, str]]:
    """Clause, field, its name, what the draft says, what the office is (empty: not known)."""
    rules, roles = terms.block("c05", Governance), terms.block("c04", Roles)
    sharing, public = terms.block("c22", Sharing), office.public
    if rules is not None:
        keys = (("operator", public.operator_key), ("coordinator", public.coordinator_key))
        for name, key in keys:
            written = str(getattr(rules, f"{name}_key"))
            yield "c05", f"{name}_key", f"{name}'s key", written, key.hex()
    if roles is not None:
        own = about.get("legal_id", "")
        yield "c04", "operator_legal_id", "legal number", roles.operator_legal_id, own
    if sharing is not None:
        own = about.get("country", "")
        yield "c22", "coordinator_country", "country", sharing.coordinator_country, own


def check_draft(
    file: Path,
    now: datetime,
    office: Office | None = None,
    about: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> tuple[ParsedAgreement, tuple[Finding, ...]]:
    """A draft from a file, and what the linter says; with ``office``, whether it fits the office.

    Raises:
        InputError: not readable, not an agreement, or with errors; warnings are returned.
    """
    draft = read_draft(file)
    findings = lint(draft, now)
    if office is not None:
        findings = (*against_office(draft.parsed, office, about or {}, home), *findings)
    bad = errors(findings)
    if bad:
        places = [draft.at(one.clause, one.field) for one in bad]
        rest = [f"{at}: {one}" for at, one in zip(places[1:], bad[1:], strict=True)]
        raise InputError(
            " ".join([str(bad[0]), *rest]),
            where=places[0],
            fix="Correct the draft; nothing was sent.",
        )
    return draft.parsed, findings


def read_settings(file: Path | None) -> dict[str, Any]:
    """Settings from a JSON file; an absent file means none."""
    if file is None:
        return {}
    try:
        text = file.read_bytes()
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}.", where=str(file)) from error
    return dict(parse_json(text, str(file)))


def pretty(document: Json) -> str:
    """A document as a JSON file that people read and change."""
    return write(document, Syntax.JSON)
