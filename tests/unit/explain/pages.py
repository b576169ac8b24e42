"""Pages of the recorded traffic; as a program it writes the golden files anew, which are then read by eye."""

from __future__ import annotations

from pathlib import Path

from chaukas.server.explain.evidence_graph import evidenced
from chaukas.server.explain.explaining import explain
from chaukas.server.explain.grounds import grounds_of
from chaukas.server.explain.narrative import narrative
from chaukas.server.explain.rendering.markdown import markdown_of
from chaukas.spec.common.v1.events_pb2 import Event
from tests.unit.explain.recordings import events_of

GOLDEN = ("support_tools", "handoff", "agent_as_tool", "errors_retry", "killed", "concurrent_one_process")
DATA = Path(__file__).parents[2] / "data"


def page_of(events: list[Event], title: str) -> str:
    explanation = explain(events)
    page = narrative(explanation, title, basis=grounds_of(evidenced(explanation)))
    return markdown_of(page, explanation.record)


def main() -> None:
    folder = DATA / "golden" / "explain"
    folder.mkdir(parents=True, exist_ok=True)
    for name in GOLDEN:
        events = events_of(DATA / "recorded" / "openai_agents" / name)
        (folder / f"{name}.md").write_text(page_of(events, f"Recording {name}"), encoding="utf-8")


if __name__ == "__main__":
    main()
