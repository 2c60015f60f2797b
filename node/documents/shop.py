"""``shop.toml``: what only the owner knows about the shop, in the owner's words.

One line a question of ``protocols.documents.given``; the answers of the assessment stand under
``[dpia]``. A file that cannot be read is never taken for an empty one.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from node import files
from protocols.agreement.countries import COUNTRIES
from protocols.documents.given import DPIA_QUESTIONS, QUESTIONS, Shop
from protocols.errors import Code, InputError, LocalError

NAME: Final = "shop.toml"
DPIA: Final = "dpia"
MAX_ANSWER: Final = 500
MAX_BYTES: Final = 64 * 1024
KEYS: Final = tuple(one.key for one in QUESTIONS)
DPIA_KEYS: Final = tuple(one.key for one in DPIA_QUESTIONS)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def load(home: Path) -> Shop:
    """What was answered; an absent file answers nothing.

    Raises:
        InputError: not TOML, an unknown key, or an answer that cannot be used; names the place.
    """
    path = home / NAME
    if not path.exists():
        return Shop()
    try:
        found = tomllib.loads(files.read(path, MAX_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"this is not TOML: {error}.", where=str(path), fix='One answer a line: name = "...".'
        ) from error
    answers = found.pop(DPIA, {})
    if not isinstance(answers, dict):
        raise InputError("[dpia] holds the answers of the assessment.", where=f"{path}:dpia")
    for given, known in ((found, KEYS), (answers, DPIA_KEYS)):
        for key, value in given.items():
            where = f"{path}:{key}"
            if key not in known:
                raise InputError(
                    f"there is no question {key!r}.", where=where, fix=f"There are: {known}."
                )
            if not isinstance(value, str):
                raise InputError("an answer is a text in quotes.", where=where)
            require(key, value, where)
    return Shop(**found, answers=answers)


def require(key: str, value: str, where: str) -> None:
    """InputError if an answer cannot be used; an empty one takes it back."""
    if len(value) > MAX_ANSWER:
        raise InputError(f"it has {len(value)} characters, {MAX_ANSWER} are the most.", where=where)
    if not value.isprintable():
        raise InputError("it has a line break or a control character in it.", where=where)
    if value and key == "country" and value not in COUNTRIES:
        raise InputError(
            f"{value!r} is not a country.", where=where, fix="Two letters, for example DE."
        )
    if value and key == "email" and not _EMAIL.fullmatch(value):
        raise InputError(f"{value!r} is not an e-mail address.", where=where)


def save(home: Path, shop: Shop) -> None:
    """Write the file anew, for its owner alone; empty answers are left out."""
    if not home.is_dir():
        raise LocalError("there is no node here.", code=Code.NOT_ENROLLED, where=str(home))
    lines = ["# What only you know about your shop: coop-node inventory setup"]
    lines += [_line(key, getattr(shop, key)) for key in KEYS if getattr(shop, key)]
    said = [_line(key, shop.answers[key]) for key in DPIA_KEYS if shop.answers.get(key)]
    if said:
        lines += ["", f"[{DPIA}]", *said]
    files.write(home / NAME, ("\n".join(lines) + "\n").encode())


def with_answers(shop: Shop, given: Mapping[str, str]) -> Shop:
    """The shop with some answers in the place of others; keys of both lists of questions.

    Raises:
        InputError: an answer that cannot be used, or an unknown question.
    """
    own: dict[str, str] = {}
    answers = dict(shop.answers)
    for key, value in given.items():
        stripped = " ".join(value.split())
        require(key, stripped, f"--{key.replace('_', '-')}")
        if key in KEYS:
            own[key] = stripped
        elif key in DPIA_KEYS:
            answers[key] = stripped
        else:
            raise InputError(f"there is no question {key!r}.", where=key, code=Code.USAGE)
    return replace(shop, **own, answers={k: v for k, v in answers.items() if v})


def _line(key: str, value: str) -> str:
    # the escapes of JSON are a part of TOML's, with DEL besides, which isprintable() keeps out
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"
