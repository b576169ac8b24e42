"""The flags that several commands share, each declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "AgentFlag",
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
    "SessionFlag",
    "SetFlag",
    "SeveritiesFlag",
    "SinceFlag",
    "SpanFlag",
    "StateDirectoryFlag",
    "StatusesFlag",
    "SummaryFormat",
    "TagsFlag",
    "TenantFlag",
    "TextFlag",
    "TraceFlag",
    "TypesFlag",
    "UntilFlag",
    "WitnessFlag",
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
# Whether a directory can be read is the server's and the doctor's to say: they know what to do about it.
DataDirectoryFlag = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Directory of the event store.", show_default="chaukas-data", readable=False),
]
StateDirectoryFlag = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="Directory of keys, kept apart from the data.",
        show_default="chaukas-state",
        readable=False,
    ),
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
WitnessFlag = Annotated[
    bool | None, typer.Option("--witness/", help="Serve as a witness for the logs of other servers.", show_default=False)
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


SessionFlag = Annotated[str | None, filter_flag("--session", "ID", "Only this session.")]
AgentFlag = Annotated[str | None, filter_flag("--agent", "ID", "Only this agent.")]
TraceFlag = Annotated[str | None, filter_flag("--trace", "ID", "Only this trace.")]
SpanFlag = Annotated[str | None, filter_flag("--span", "ID", "Only this span.")]
TypesFlag = Annotated[list[str] | None, filter_flag("--type", "TYPE", "Only these types, such as TOOL_CALL_START; repeatable.")]
StatusesFlag = Annotated[list[str] | None, filter_flag("--status", "STATUS", "Only these statuses, such as FAILED; repeatable.")]
SeveritiesFlag = Annotated[
    list[str] | None, filter_flag("--severity", "SEVERITY", "Only these severities, such as ERROR; repeatable.")
]
TagsFlag = Annotated[list[str] | None, filter_flag("--tag", "TAG", "Only with this tag; repeated, all must be there.")]
TextFlag = Annotated[
    str | None,
    filter_flag("--text", "WORDS", 'Only with all these words; a "phrase" in quotation marks, a beginning with *.'),
]
TenantFlag = Annotated[str | None, filter_flag("--tenant", "ID", "Only this tenant.")]
ProjectFlag = Annotated[str | None, filter_flag("--project", "ID", "Only this project.")]
SinceFlag = Annotated[
    str | None,
    filter_flag("--since", "TIME", "Not before this time: 2026-11-22T11:43:40Z, 2026-11-22, -1h, -1d12h, now."),
]
UntilFlag = Annotated[str | None, filter_flag("--until", "TIME", "Before this time; same forms.")]
