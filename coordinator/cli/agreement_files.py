"""``agreement new | amend | check | page | diff | schema``: files, before anybody is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.shell import Json, answer, note, say, state
from protocols.errors import TABLE, Code, InputError

if TYPE_CHECKING:
    from protocols.agreement.authoring import Draft, Problem
    from protocols.agreement.findings import Finding
    from protocols.agreement.parse import ParsedAgreement

CURRENT = "current"
Format = StrEnum("Format", ["TOML", "YAML", "JSON"])
Html = Annotated[bool, typer.Option("--html", help="Print one HTML file instead of text.")]
DraftFile = Annotated[Path, typer.Argument(help="A draft: .toml, .yaml or .json.")]
FileFormat = Annotated[
    Format | None, typer.Option("--format", help="How it is written; else by the file's name.")
]


def _figures(pairs: list[str]) -> dict[str, Any]:
    import json

    out: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise InputError(f"{pair!r} is not NAME=VALUE.", where="--set")
        try:
            out[key] = json.loads(value)
        except json.JSONDecodeError:
            out[key] = value
    return out


def new(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the draft is written.")],
    template: Annotated[str, typer.Option(help="Template to fill.")] = "grocers",
    written: FileFormat = None,
    days: Annotated[int, typer.Option(help="How long it is to be in force.")] = 365,
    settings: Annotated[
        Path | None,
        typer.Option(help="JSON file with settings that all orders share; by workload if several."),
    ] = None,
    workload: Annotated[
        list[str] | None,
        typer.Option(help="What may run: demand, churn; repeatable. [as the template says]"),
    ] = None,
    max_rounds: Annotated[int, typer.Option(help="Most rounds that an order may ask for.")] = 100,
    figure: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the template; repeatable.")
    ] = None,
) -> None:
    """Fill a template into a draft that you and the members can read and change."""
    from coordinator.drafts import new_draft, read_settings
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    syntax = _syntax(file, written)
    parsed = new_draft(
        house.office,
        template=template,
        lasts=timedelta(days=days),
        workloads=workload or [],
        settings=read_settings(settings),
        max_rounds=max_rounds,
        figures=_figures(figure or []),
        previous=house.agreements.newest(),
        now=house.clock(),
        about={"legal_id": house.legal_id, "country": house.settings.country},
    )
    _write(file, parsed, syntax)


def amend(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the draft is written.")],
    written: FileFormat = None,
) -> None:
    """Write the newest signed agreement as its next version, for you to change."""
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    found = house.agreements.newest()
    if found is None:
        raise InputError(
            "no agreement is in force yet.", code=Code.NOT_FOUND, fix="See: agreement new."
        )
    from protocols.agreement.parse import read_agreement

    document = {**found.document, "version": found.agreement.version + 1, "prev": found.id}
    _write(file, read_agreement(document, str(file)), _syntax(file, written))


def _syntax(file: Path, written: Format | None) -> str:
    from protocols.agreement.authoring import syntax_of

    if file.exists():
        raise InputError("this file exists already.", where=str(file), fix="Name another file.")
    if written is None:
        return syntax_of(file.name).value
    wanted = written.name.lower()
    if file.suffix and syntax_of(file.name).value != wanted:
        raise InputError(
            f"the name says {file.suffix[1:]}, --format says {wanted}.",
            where=str(file),
            code=Code.USAGE,
            fix="Leave --format out, or change the name.",
        )
    return wanted


def _write(file: Path, parsed: ParsedAgreement, syntax: str) -> None:
    from protocols.agreement.authoring import Syntax
    from protocols.agreement.writing import write

    file.write_text(write(parsed.document, Syntax(syntax)), encoding="utf-8", newline="\n")
    say(f"Draft written to {file}: version {parsed.agreement.version}.")
    say(f"Read and change it, then: coop-coordinator agreement check {file}")
    say(f"If nothing is wrong:      coop-coordinator agreement propose {file}")


def check(
    context: typer.Context,
    file: DraftFile,
    office: Annotated[
        bool, typer.Option("--office", help="Also compare it with this office, as propose does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is wrong with a draft and where: form, contradictions, one-sided clauses."""
    from coordinator.drafts import against_office, draft_bytes, lint
    from coordinator.wiring import open_house
    from protocols.agreement.authoring import parse_draft, problems, read_source
    from protocols.agreement.check import errors

    data, where = draft_bytes(file), str(file)
    broken = problems(read_source(data, where))
    if broken:
        answer(_broken(where, broken), as_json, lambda: _broken_lines(where, broken))
        raise typer.Exit(TABLE[Code.INPUT].exit_code)
    draft = parse_draft(data, where)
    found = lint(draft, datetime.now(UTC))
    if office:
        house = open_house(state(context).home)
        about = {"legal_id": house.legal_id, "country": house.settings.country}
        found = (*against_office(draft.parsed, house.office, about, house.home), *found)
    answer(_checked(draft, found), as_json, lambda: _lines(draft, found))
    if errors(found):
        raise typer.Exit(TABLE[Code.INPUT].exit_code)


def _broken(where: str, found: tuple[Problem, ...]) -> dict[str, Any]:
    return {
        "file": where,
        "valid": False,
        "problems": [
            {"line": one.place.line, "column": one.place.column, "sentence": one.sentence}
            for one in found
        ],
        "findings": [],
    }


def _broken_lines(where: str, found: tuple[Problem, ...]) -> list[str]:
    from protocols.agreement.source import at

    lines = [f"{at(where, one.place)}: {one.sentence}." for one in found]
    return [*lines, f"To correct: {len(found)}; then it is read further."]


def _checked(draft: Draft, found: tuple[Finding, ...]) -> dict[str, Any]:
    return {
        "file": draft.source.where,
        "valid": True,
        "id": draft.parsed.id,
        "version": draft.parsed.agreement.version,
        "problems": [],
        "findings": [
            {
                "rule": one.rule,
                "clause": one.clause,
                "level": one.level.value,
                "field": one.field,
                "at": draft.at(one.clause, one.field),
                "sentence": one.sentence,
                "fix": one.fix,
            }
            for one in found
        ],
    }


def _lines(draft: Draft, found: tuple[Finding, ...]) -> list[str]:
    from protocols.agreement.check import errors
    from protocols.agreement.plural import counted

    lines = [f"{draft.at(one.clause, one.field)}: {one}" for one in found]
    bad = len(errors(found))
    said = f"{counted(bad, 'error')}, {counted(len(found) - bad, 'warning')}"
    lines.append(f"{said}. Its id would be {draft.parsed.id}.")
    if not bad:
        lines.append(f"Next: coop-coordinator agreement propose {draft.source.where}")
    return lines


def page(file: DraftFile, as_html: Html = False, as_json: Json = False) -> None:
    """What a draft lets others do, and what not: the page that members read before they sign."""
    from coordinator.drafts import read_draft
    from protocols.agreement.pages import page_html
    from protocols.agreement.render import grouped
    from protocols.agreement.render import page as as_text

    parsed = read_draft(file).parsed
    groups = [
        {"heading": heading, "sentences": [{"clause": c, "sentence": s} for s, c in said]}
        for heading, said in grouped(parsed)
    ]
    document = {"id": parsed.id, "version": parsed.agreement.version, "effects": groups}
    answer(document, as_json, lambda: [page_html(parsed) if as_html else as_text(parsed)])


def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="A draft, or `current` for the one in force.")],
    new_file: Annotated[Path, typer.Argument(metavar="NEW", help="A draft.")],
    as_html: Html = False,
    as_json: Json = False,
) -> None:
    """What changes from one version to the other, clause by clause, and what that does."""
    from coordinator.drafts import read_draft
    from protocols.agreement.pages import comparison_html
    from protocols.agreement.render import comparison, differences

    before = _current(context) if old == CURRENT else read_draft(Path(old)).parsed
    after = read_draft(new_file).parsed
    if before.agreement.coop != after.agreement.coop:
        note("These are agreements of two different cooperatives.")
    document = {"from": before.id, "to": after.id, "changes": differences(before, after)}
    text = comparison_html if as_html else comparison
    answer(document, as_json, lambda: [text(before, after)])


def _current(context: typer.Context) -> ParsedAgreement:
    from coordinator.wiring import open_house

    found = open_house(state(context).home).agreement()
    if found is None:
        raise InputError("no agreement is in force yet.", code=Code.NOT_FOUND, where=CURRENT)
    return found


def schema() -> None:
    """The JSON Schema of an agreement (2020-12), with every key and its meaning."""
    import json

    from protocols.agreement.schema import agreement_schema

    say(json.dumps(agreement_schema(), indent=2, ensure_ascii=False))


def templates(as_json: Json = False) -> None:
    """The templates that `agreement new` can fill."""
    from coordinator.cli.shell import table
    from coordinator.drafts import template_document, template_names

    found = {name: template_document(name) for name in template_names()}
    document = {
        "templates": [
            {
                "name": name,
                "about": one.get("about", ""),
                "profile": one["figures"]["profile"],
                "workloads": one.get("workloads", []),
                "figures": one["figures"],
            }
            for name, one in found.items()
        ]
    }
    rows = [
        [name, one["figures"]["profile"], ", ".join(one.get("workloads", [])), one.get("about", "")]
        for name, one in found.items()
    ]
    headers = ["template", "profile", "workloads", "for"]
    answer(document, as_json, lambda: table(rows, headers, "There are none."))


def add(app: typer.Typer) -> None:
    """Put these commands into the group ``agreement``."""
    for command, example in (
        (new, "agreement new draft.toml --template bakery-group"),
        (amend, "agreement amend next.toml"),
        (check, "agreement check draft.toml"),
        (page, "agreement page draft.toml --html"),
        (diff, "agreement diff current next.toml"),
        (schema, "agreement schema"),
        (templates, "agreement templates"),
    ):
        app.command(epilog=f"Example: coop-coordinator {example}")(command)
