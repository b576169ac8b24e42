"""The settings of the ready server: one class, four sources, every value checked before anything starts.

Later sources win: defaults < TOML file < environment `CHAUKAS_SERVER_*` < flags. `docs/configuration.md` lists every setting.
Building `Settings(...)` reads nothing but its arguments; only `Settings.load` looks at a file and at the environment.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ByteSize,
    Field,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from chaukas.server.errors import ConfigurationError

__all__ = ["ENVIRONMENT_PREFIX", "Address", "EffectiveSetting", "Settings", "Source"]

ENVIRONMENT_PREFIX = "CHAUKAS_SERVER_"

_SERVER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?(:[0-9]{1,5})?")
_MIB = 1024 * 1024


class Source(StrEnum):
    """Where the value of a setting came from."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen on. Port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `HOST:PORT`, an IPv6 host in brackets. Raises `ValueError` with a sentence."""
        host, separator, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if bracketed:
            host = host[1:-1]
        if not separator or not host or (":" in host) is not bracketed or not re.fullmatch(r"[0-9]{1,5}", port):
            raise ValueError(f"{text!r} is not HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080")
        if int(port) > 65535:
            raise ValueError(f"{text!r} has a port above 65535")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A name other than `localhost` counts as reachable from outside."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One line of `chaukas config`."""

    name: str
    value: object
    source: Source
    #: Says where exactly: the variable, the file, or "".
    origin: str
    description: str

    @property
    def environment_variable(self) -> str:
        """The variable that sets it."""
        return ENVIRONMENT_PREFIX + self.name.upper()


def _split_commas(value: object) -> object:
    """Lets a list be written as `a,b` in a variable or a flag; a list of the file passes unchanged."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


class Settings(BaseSettings):
    """All settings, immutable. Sizes take a number of bytes or a text such as `64MiB`; durations are seconds."""

    # An environment prefix of its own keeps the `CHAUKAS_*` variables of the SDK apart from the server's.
    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(Path("chaukas-data"), description="Directory of the event store.")
    state_dir: Path = Field(Path("chaukas-state"), description="Directory of keys and of what must survive apart from the data.")
    grpc_address: str = Field("127.0.0.1:50051", description="Where gRPC listens, HOST:PORT; port 0 chooses one.")
    http_address: str = Field("127.0.0.1:8080", description="Where HTTP listens, HOST:PORT; port 0 chooses one.")
    insecure_no_auth: bool = Field(False, description="Serve an address that other machines reach, to anybody.")
    server_name: str = Field(
        "chaukas.localhost", description="Name of this server in the origin of its logs; fixed by the first start."
    )
    workers: PositiveInt = Field(1, description="Server processes on one store; the embedded store allows one.")
    hooks: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)] = Field(
        (), description="Classes that extend ingest, each as module:Class."
    )

    event_bytes_max: ByteSize = Field(ByteSize(2 * _MIB), ge=1, description="Largest event, serialised.")
    id_bytes_max: PositiveInt = Field(256, description="Longest id of an event, in UTF-8 bytes.")
    name_bytes_max: PositiveInt = Field(1024, description="Longest agent_name, in UTF-8 bytes.")
    tags_max: PositiveInt = Field(64, description="Most tags of an event.")
    tag_bytes_max: PositiveInt = Field(256, description="Longest tag, in UTF-8 bytes.")
    request_bytes_max: ByteSize = Field(ByteSize(64 * _MIB), ge=1024, le=1024 * _MIB, description="Largest request, after gzip.")
    query_bytes_max: ByteSize = Field(ByteSize(_MIB), ge=1024, description="Largest request that is no ingest.")
    batch_events_max: PositiveInt = Field(100_000, description="Most events of one batch.")

    requests_max: PositiveInt = Field(1024, description="Most requests at once, for each of gRPC and HTTP.")
    inflight_bytes_max: ByteSize = Field(ByteSize(128 * _MIB), ge=1024, description="Bodies of all requests at work, in sum.")
    queue_events_max: PositiveInt = Field(20_000, description="Most events waiting for the writer.")
    queue_bytes_max: ByteSize = Field(ByteSize(64 * _MIB), ge=1, description="Bytes of the events waiting for the writer.")
    hold_s: float = Field(10.0, ge=0, description="How long a request waits for room before it is refused.")
    quarantine_items_max: PositiveInt = Field(100_000, description="Most items kept in the quarantine.")
    quarantine_bytes_max: ByteSize = Field(ByteSize(1024 * _MIB), ge=1, description="Bytes kept in the quarantine, in sum.")

    page_events_default: PositiveInt = Field(100, description="Events on a page when page_size is 0.")
    page_events_max: PositiveInt = Field(1000, description="Largest page_size.")
    page_bytes_max: ByteSize = Field(
        ByteSize(3 * _MIB), ge=1024, description="Bytes of a page's events; a larger event comes alone."
    )
    filter_values_max: PositiveInt = Field(1000, description="Most values in one list of a query's filter.")
    log_key_file: Path | None = Field(
        None, description="Ed25519 key that signs the logs' heads; log.key in state_dir by default."
    )
    witnesses: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)] = Field(
        (), description="Witnesses that the logs' heads are shown to, each as '<verifier key> <URL>'."
    )
    witness_interval_s: PositiveFloat = Field(10.0, description="How often logs that have grown are shown to the witnesses.")
    witness: bool = Field(False, description="Serve as a witness for the logs of other servers.")
    witness_name: str = Field("", description="Name of this witness, without a scheme; <server_name>/witness by default.")
    witness_logs: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)] = Field(
        (), description="Verifier keys of the logs that this witness knows; a name that ends with / stands for all below it."
    )
    writer_process: bool = Field(
        True,
        description="Whether the record is written by a process of its own, beside the one that receives, or by a thread of it.",
    )
    text_index: bool = Field(
        True, description="Keep an index of words, in a process of its own; without it text is searched by reading."
    )
    text_index_lag_events_max: PositiveInt = Field(
        100_000, description="Events the index may be behind before ingest is slowed down."
    )
    verify_background: bool = Field(
        True, description="Verify the record again and again, slowly, in a process of its own that begins after a minute."
    )
    verify_background_events_per_s: PositiveInt = Field(
        1_000, description="Entries that the background verification reads in a second."
    )
    text_query_chars_max: PositiveInt = Field(1024, description="Longest text_query, in characters.")
    text_clauses_max: PositiveInt = Field(32, description="Most words and phrases in one text_query.")

    answer_bytes_max: ByteSize = Field(
        ByteSize(64 * _MIB), ge=1, description="Large answers over HTTP that are not sent yet, in sum."
    )
    answer_send_s: PositiveFloat = Field(10.0, description="How long a caller may take none of an answer over HTTP.")

    tail_clients_max: PositiveInt = Field(100, description="Most clients that follow the record at once.")
    tail_send_s: PositiveFloat = Field(30.0, description="How long a client that follows may stop reading.")
    tail_heartbeat_s: PositiveFloat = Field(15.0, description="How often a client that follows hears that nothing arrived.")

    explain_events_max: PositiveInt = Field(200_000, description="Most events of one explanation.")
    explain_bytes_max: ByteSize = Field(ByteSize(256 * _MIB), ge=1024, description="Bytes of the events of one explanation.")
    explain_at_once_max: PositiveInt = Field(2, description="Most explanations that are computed at once.")
    finders: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)] = Field(
        (), description="What looks for findings of your own, each as module:NAME."
    )

    http_header_bytes_max: ByteSize = Field(ByteSize(64 * 1024), ge=1024, description="Request line and headers of a request.")
    http_body_s: PositiveFloat = Field(60.0, description="Longest wait for the next part of a body.")
    http_keep_alive_s: PositiveInt = Field(75, description="How long an idle HTTP connection is kept.")
    drain_s: float = Field(30.0, ge=0, description="How long running requests may take when the server stops.")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is written.")
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, JSON elsewhere.")

    _origins: dict[str, tuple[Source, str]] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the arguments: `load` reads the other sources itself, so that it can tell where each value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @classmethod
    def load(
        cls,
        *,
        config_file: Path | None = None,
        flags: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Build the settings from all sources.

        `flags` holds what was given on the command line (None means not given), `environment` defaults to `os.environ`.
        Raises `ConfigurationError` that names each wrong setting, where it was set and what is allowed. Variables with the
        prefix that name no setting are left alone: container platforms set such variables on their own for a service
        that happens to be called `chaukas-server`.
        """
        values: dict[str, Any] = {}
        origins: dict[str, tuple[Source, str]] = {}
        for name, value in (_read_file(config_file) if config_file is not None else {}).items():
            values[name], origins[name] = value, (Source.FILE, str(config_file))
        variables = os.environ if environment is None else environment
        for name in cls.model_fields:
            variable = ENVIRONMENT_PREFIX + name.upper()
            if variable in variables:
                values[name], origins[name] = variables[variable], (Source.ENVIRONMENT, variable)
        for name, value in (flags or {}).items():
            if value is not None:
                values[name], origins[name] = value, (Source.FLAG, "")
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise ConfigurationError(_explain(error, origins, cls.model_fields.keys())) from error
        settings._origins.update(origins)
        return settings

    def effective(self) -> list[EffectiveSetting]:
        """Every setting with its value and the source that decided it, in the order of the documentation."""
        listing = []
        for name, field in type(self).model_fields.items():
            source, origin = self._origins.get(name, (Source.DEFAULT, ""))
            if source is Source.DEFAULT and name in self.model_fields_set:
                source = Source.FLAG
            listing.append(EffectiveSetting(name, getattr(self, name), source, origin, field.description or ""))
        return listing

    @property
    def grpc(self) -> Address:
        """`grpc_address` in parts."""
        return Address.parse(self.grpc_address)

    @property
    def http(self) -> Address:
        """`http_address` in parts."""
        return Address.parse(self.http_address)

    @field_validator("grpc_address", "http_address")
    @classmethod
    def _check_address(cls, value: str) -> str:
        Address.parse(value)
        return value

    @field_validator("server_name")
    @classmethod
    def _check_server_name(cls, value: str) -> str:
        # The name begins every log's origin, which is a note's key name (C2SP signed-note: no spaces, no plus sign).
        if not _SERVER_NAME.fullmatch(value):
            raise ValueError(
                "must be a host name of at most 100 letters, digits, dots, hyphens and underscores, with or without :PORT"
            )
        return value

    @field_validator("hooks", "finders")
    @classmethod
    def _check_hooks(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for hook in value:
            module, separator, name = hook.partition(":")
            if not separator or not module or not name.isidentifier():
                raise ValueError(f"{hook!r} is not module:{'Class' if info.field_name == 'hooks' else 'NAME'}")
        return value

    @field_validator("workers")
    @classmethod
    def _check_workers(cls, value: int) -> int:
        if value > 1:
            raise ValueError(
                "the embedded SQLite store is written by one server process; use workers = 1, "
                "several processes need the PostgreSQL store, which this release does not have"
            )
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for name in ("grpc_address", "http_address"):
            address = Address.parse(getattr(self, name))
            if not address.is_loopback and not self.insecure_no_auth:
                raise ValueError(
                    f"{name} {address} can be reached from other machines, and this server has no keys to tell callers apart: "
                    "listen on 127.0.0.1 or [::1], or accept that anybody may read and write with --insecure-no-auth"
                )
        if self.page_events_default > self.page_events_max:
            raise ValueError("page_events_default must not be above page_events_max")
        for name, larger in (
            ("event_bytes_max", "request_bytes_max"),
            ("request_bytes_max", "inflight_bytes_max"),
            ("event_bytes_max", "queue_bytes_max"),
            ("request_bytes_max", "quarantine_bytes_max"),
        ):
            if getattr(self, name) > getattr(self, larger):
                raise ValueError(f"{name} must not be above {larger}: nothing of that size could ever be taken")
        return self


def _read_file(path: Path) -> dict[str, Any]:
    """The table of a TOML file. Raises `ConfigurationError`."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the configuration file {path} is not TOML: {error}") from error


def _explain(error: ValidationError, origins: Mapping[str, tuple[Source, str]], known: Iterable[str]) -> str:
    """One sentence per problem: the setting, the problem, and where the value stands."""
    sentences = []
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        message = str(problem["msg"]).removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "there is no such setting" + _nearest(name, known)
        source, origin = origins.get(name, (Source.DEFAULT, ""))
        place = f" (set by {origin})" if origin else " (set by a flag)" if source is Source.FLAG else ""
        sentences.append(f"{name}: {message}{place}" if name else message)
    return "; ".join(sentences)


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""
