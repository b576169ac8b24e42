"""How the integrations of different frameworks record: what they call things, and what they leave out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["CREW_AI", "HAND_WRITTEN", "LANG_CHAIN", "LANG_GRAPH", "OPENAI_AGENTS", "Style"]


@dataclass(frozen=True, slots=True)
class Style:
    """The habits of one integration."""

    #: As it names itself in metadata.
    framework: str
    provider: str
    #: As people call it.
    title: str
    #: Spans stand inside each other; otherwise all of them hang on the session's.
    nested: bool = True
    #: 32 and 16 hexadecimal digits for traces and spans (W3C Trace Context); otherwise UUIDs everywhere.
    hex_ids: bool = False
    #: The end of a model call holds what the model said; otherwise only its tokens.
    answers_in_ends: bool = True
    #: Results of tools name the call they belong to; otherwise only the span joins them.
    tool_call_ids: bool = True
    #: The question is recorded before the session that it begins.
    input_first: bool = False
    #: Agents have ids of their own; otherwise their name is the id.
    slug_agents: bool = False
    #: US dollars for a million tokens read and written; 0 when costs are not recorded.
    dollars_in: float = 0.0
    dollars_out: float = 0.0

    def agent_id(self, name: str) -> str:
        """The id of an agent with this name."""
        return re.sub(r"\W+", "-", name.casefold()).strip("-") if self.slug_agents else name

    def price(self, event: Event) -> None:
        """Write what a model call cost into its event, where this integration does so."""
        if not self.dollars_in:
            return
        call, cost = event.llm_invocation, event.cost
        cost.provider, cost.service, cost.currency = self.provider, call.model, "USD"
        cost.input_tokens, cost.output_tokens, cost.total_tokens = call.prompt_tokens, call.completion_tokens, call.total_tokens
        cost.input_rate_per_token, cost.output_rate_per_token = self.dollars_in / 1e6, self.dollars_out / 1e6
        cost.input_cost = round(call.prompt_tokens * self.dollars_in / 1e6, 9)
        cost.output_cost = round(call.completion_tokens * self.dollars_out / 1e6, 9)
        cost.total_cost = round(cost.input_cost + cost.output_cost, 9)


OPENAI_AGENTS = Style(
    "openai_agents", "openai", "OpenAI Agents", nested=False, answers_in_ends=False, tool_call_ids=False, input_first=True
)
LANG_GRAPH = Style("langgraph", "anthropic", "LangGraph", hex_ids=True, slug_agents=True)
LANG_CHAIN = Style("langchain", "mistral", "LangChain", hex_ids=True, slug_agents=True)
CREW_AI = Style("crewai", "openai", "CrewAI", tool_call_ids=False)
HAND_WRITTEN = Style(
    "hand-written", "anthropic", "hand-written", hex_ids=True, slug_agents=True, dollars_in=3.0, dollars_out=15.0
)
