"""The flags that several commands share, each declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "ConfigFlag",
    "DataDirectoryFlag",
    "GrpcFlag",
    "HttpFlag",
    "InsecureNoAuthFlag",
    "ListingFormat",
    "LogFormatFlag",
    "LogLevelFlag",
    "OfflineConfigFlag",
    "OfflineDataFlag",
    "ProjectFlag",
    "ServerFlag",
    "ServerNameFlag",
    "SetFlag",
    "SinceFlag",
    "StateDirectoryFlag",
    "SummaryFormat",
    "TenantFlag",
    "UntilFlag",
    "WorkersFlag",
    "filter_flag",
]


class ListingFormat(StrEnum):
    """How a listing is written."""

    TABLE = "table"
    JSONL = "jsonl"
    JSON = "json"


class SummaryFormat(StrEnum):
    """How a single answer is written."""

    TABLE = "table"
    JSON = "json"


_REACH = "Which server"

ServerFlag = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="CHAUKAS_SERVER_URL",
        metavar="URL",
        help="HTTP address of the running server.",
        rich_help_panel=_REACH,
    ),
]
OfflineDataFlag = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Open this data directory instead; no server may be running on it.",
        rich_help_panel=_REACH,
    ),
]
OfflineConfigFlag = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with the settings that belong to --data.",
        rich_help_panel=_REACH,
    ),
]
ConfigFlag = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML file with settings.")]
DataDirectoryFlag = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Directory of the event store.", show_default="chaukas-data")
]
StateDirectoryFlag = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Directory of keys, kept apart from the data.", show_default="chaukas-state"),
]
GrpcFlag = Annotated[
    str | None, typer.Option("--grpc", metavar="HOST:PORT", help="Where gRPC listens.", show_default="127.0.0.1:50051")
]
HttpFlag = Annotated[
    str | None, typer.Option("--http", metavar="HOST:PORT", help="Where HTTP listens.", show_default="127.0.0.1:8080")
]
InsecureNoAuthFlag = Annotated[
    bool | None,
    typer.Option("--insecure-no-auth/", help="Serve an address that other machines reach, to anybody.", show_default=False),
]
WorkersFlag = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Server processes; the embedded store allows one.", show_default="1")
]
ServerNameFlag = Annotated[
    str | None,
    typer.Option(
        "--server-name",
        metavar="NAME",
        help="Name in the origin of the logs, fixed by the first start.",
        show_default="chaukas.localhost",
    ),
]
LogLevelFlag = Annotated[
    str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.", show_default="info")
]
LogFormatFlag = Annotated[
    str | None, typer.Option("--log-format", metavar="FORMAT", help="auto, console or json.", show_default="auto")
]
SetFlag = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any other setting by its name; repeatable.", show_default=False),
]
_EVENTS = "Which events"


def filter_flag(name: str, metavar: str, text: str) -> Any:  # noqa: ANN401  what `typer.Option` itself returns
    """A flag that selects events."""
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=_EVENTS, show_default=False)


TenantFlag = Annotated[str | None, filter_flag("--tenant", "ID", "Only this tenant.")]
ProjectFlag = Annotated[str | None, filter_flag("--project", "ID", "Only this project.")]
SinceFlag = Annotated[
    str | None,
    filter_flag("--since", "TIME", "Not before this time: 2026-11-22T11:43:40Z, 2026-11-22, -1h, -1d12h, now."),
]
UntilFlag = Annotated[str | None, filter_flag("--until", "TIME", "Before this time; same forms.")]
