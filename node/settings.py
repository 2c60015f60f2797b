"""The settings of the node and the sentences for what is wrong with them."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from node.config import ENV_PREFIX
from protocols.errors import InputError

MAX_CONFIG_BYTES = 256 * 1024


class NodeSettings(BaseSettings):
    """What a member may set; nothing here loosens a rule of the agreement."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="of the libraries' messages on stderr"
    )
    reconnect_min_s: float = Field(default=0.5, gt=0, le=60)
    reconnect_max_s: float = Field(default=60.0, ge=1, le=3600)
    renew_before_days: int = Field(default=30, ge=1, le=60, description="before expiry")
    consent_max_age_days: int | None = Field(
        default=None, ge=1, le=3650, description="an older yes does not stand until given again"
    )
    retention_days_sales_line: int = Field(
        default=1826, ge=1, le=36500, description="of a sales line, from its business day"
    )
    retention_days_customer: int = Field(
        default=1096, ge=1, le=36500, description="of a customer, from the last purchase"
    )
    retention_days_stock: int = Field(
        default=731, ge=1, le=36500, description="of a stock count, from its day"
    )
    retention_days_quarantine: int = Field(
        default=90, ge=1, le=36500, description="of rows set aside, from their import"
    )
    endpoint_port: int | None = Field(
        default=None, ge=1024, le=65535, description="of the local HTTP door for shop systems"
    )


def read(file: Path, environ: Mapping[str, str]) -> NodeSettings:
    """The settings from one file and the environment; the environment wins."""
    lines = _check_keys(file, environ)

    class Bound(NodeSettings):
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


def _check_keys(file: Path, environ: Mapping[str, str]) -> dict[str, int]:
    """Every key must exist; the line of each key in the file, from 1."""
    known = set(NodeSettings.model_fields)
    prefixed = {name for name in environ if name.upper().startswith(ENV_PREFIX)}
    for name in sorted(prefixed):
        key = name[len(ENV_PREFIX) :].lower()
        if key not in known and key not in ("home", "passphrase"):
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
