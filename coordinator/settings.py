"""The settings of the coordinator and the sentences for what is wrong with them."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from coordinator.config import ENV_PREFIX
from protocols.errors import InputError

MAX_CONFIG_BYTES = 256 * 1024


class CoordinatorSettings(BaseSettings):
    """What an operator may set. Names and keys of the cooperative are in coop.json, not here."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="of the libraries' messages on stderr"
    )
    host: str = Field(default="", description="the name nodes dial; empty: as given to init")
    bind: str = Field(default="0.0.0.0", description="the address to listen on")  # noqa: S104
    join_port: int | None = Field(default=None, ge=1, le=65535, description="else as at init")
    link_port: int | None = Field(default=None, ge=1, le=65535, description="else as at init")
    ca_dir: Path | None = Field(default=None, description="the authority, if on another disk")
    operator_dir: Path | None = Field(default=None, description="the operator's key, if elsewhere")
    invite_hours: int = Field(default=72, ge=1, le=24 * 30)
    legal_id: str = Field(
        default="", max_length=200, description="of the business that runs this office (c04)"
    )
    country: str = Field(
        default="", pattern=r"^([A-Z]{2})?$", description="where this machine stands (c22)"
    )
    sub_processors: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(), max_length=50, description="names of businesses that work for you here (c22)"
    )
    contact: str = Field(
        default="", max_length=200, description="address, e-mail or telephone of this office"
    )
    dpo: str = Field(
        default="", max_length=200, description="data protection officer and contact, or none"
    )
    join_per_minute: int = Field(default=20, ge=1, le=10_000, description="calls per address")
    join_per_minute_total: int = Field(default=200, ge=1, le=100_000)


def read(file: Path, environ: Mapping[str, str]) -> CoordinatorSettings:
    """The settings from one file and the environment; the environment wins."""
    lines = _check_keys(file, environ)

    class Bound(CoordinatorSettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return env_settings, TomlConfigSettingsSource(settings_cls, file)

    try:
        return Bound()
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        variable = ENV_PREFIX + key.upper()
        where = variable if variable in environ else f"{file}:{lines.get(key, 1)}"
        raise InputError(
            f"{key} = {first['input']!r} cannot be used: {first['msg']}.", where=where
        ) from error


def check(values: Mapping[str, str | tuple[str, ...]]) -> None:
    """InputError, naming the option, if a value cannot be used."""
    try:
        CoordinatorSettings.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise InputError(
            f"{first['input']!r} cannot be used: {first['msg']}.",
            where="--" + key.replace("_", "-"),
            fix=f"It is {CoordinatorSettings.model_fields[key].description}.",
        ) from error


def add(file: Path, values: Mapping[str, str | tuple[str, ...]]) -> None:
    """Write settings into a configuration that does not have them yet; empty values are left out.

    Raises:
        InputError: one of them stands there already.
    """
    wanted = {key: value for key, value in values.items() if value}
    text = _text(file)
    for key in sorted(wanted.keys() & _parse(text, file).keys()):
        raise InputError(
            f"{key} is set already.", where=str(file), fix=f"Change it there: {key} = ..."
        )
    if not wanted:
        return
    lines = [f"{key} = {_toml(value)}" for key, value in wanted.items()]
    body = "\n".join([*text.rstrip("\n").splitlines(), *lines]) + "\n"
    try:
        file.write_text(body, encoding="utf-8")
    except OSError as error:
        raise InputError(f"it cannot be written: {error.strerror}.", where=str(file)) from error


def _toml(value: str | tuple[str, ...]) -> str:
    if isinstance(value, str):  # the escapes of JSON are a part of TOML's
        return json.dumps(value, ensure_ascii=True)
    return "[" + ", ".join(_toml(one) for one in value) + "]"


def _check_keys(file: Path, environ: Mapping[str, str]) -> dict[str, int]:
    """Every key must exist; the line of each key in the file, from 1."""
    known = set(CoordinatorSettings.model_fields)
    prefixed = {name for name in environ if name.upper().startswith(ENV_PREFIX)}
    for name in sorted(prefixed):
        key = name[len(ENV_PREFIX) :].lower()
        if key not in known and key != "home":
            raise InputError(f"there is no setting {key!r}.", where=name, fix=_hint(key, known))
    text = _text(file)
    lines = {
        match.group(1): number
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := re.match(r"\s*\[*\s*\"?([A-Za-z0-9_-]+)", line))
    }
    for key in _parse(text, file):
        if key not in known:
            where = f"{file}:{lines.get(key, 1)}"
            raise InputError(f"there is no setting {key!r}.", where=where, fix=_hint(key, known))
    return lines


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}.", where=str(file)) from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise InputError(
            f"it is longer than {MAX_CONFIG_BYTES} bytes, so this is no configuration.",
            where=str(file),
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8.", where=str(file), fix="Save the file as UTF-8."
        ) from error


def _parse(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"this is not TOML: {error}.", where=str(file), fix="One setting a line: key = value."
        ) from error


def _hint(key: str, known: set[str]) -> str:
    near = difflib.get_close_matches(key.lower(), sorted(known), n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"There are: {', '.join(sorted(known))}."
