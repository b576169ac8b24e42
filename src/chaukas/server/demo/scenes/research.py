"""Research over documents, recorded by the integrations of LangGraph and LangChain."""

from __future__ import annotations

from chaukas.server.demo.script import Failure, Script
from chaukas.server.demo.style import LANG_CHAIN, LANG_GRAPH

__all__ = ["heat_pumps", "translation"]

_FIELD_TEST = (
    "Field test of 56 air-source heat pumps in existing houses, Freiburg 2024: the mean seasonal performance factor was 3.1; "
    "houses with flow temperatures below 45 °C reached 3.4."
)
_TARIFF = "Tariff sheet Stadtwerke Ahlen, January 2026: heat pump tariff 24.8 ct/kWh, gas 11.2 ct/kWh including the carbon price."
_FORUM = "Forum post: my neighbour says heat pumps never work below zero degrees."


def heat_pumps(began_ns: int) -> Script:
    """A planner, a search that needs a second try, three documents of which one is set aside, and a calculation."""
    run = Script("heat-pumps", LANG_GRAPH, began_ns, project="research", model="claude-sonnet-4-5", tags=("prod", "team:energy"))
    with run.session("Does a heat pump heat more cheaply than gas in an existing house in Ahlen?", graph="research-v3"):
        with run.agent("Planner", "Break the question into searches.", node="plan"):
            run.think("1. measured performance of heat pumps in existing houses; 2. tariffs in Ahlen; 3. cost per kWh of heat")
            run.change_state({"plan": ["performance factor", "tariffs", "comparison"], "step": 1})
        with run.agent("Researcher", "Search, read, and keep only sources that measure.", ("search", "fetch"), node="research"):
            query = {"query": "seasonal performance factor heat pump existing houses field test"}
            run.think(calls=[("search", query)])
            timeout = Failure("search backend did not answer within 5 s", "TimeoutError", action="retry")
            run.run_tool("search", query, ms=5000, failure=timeout)
            run.fail(timeout)
            run.retry(1, 500, timeout.message)
            hits = [{"id": "doc-freiburg-2024", "score": 0.91}, {"id": "doc-forum-7781", "score": 0.55}]
            run.run_tool("search", query, {"hits": hits}, ms=610)
            documents = {
                "documents": [{"id": "doc-freiburg-2024", "text": _FIELD_TEST}, {"id": "doc-forum-7781", "text": _FORUM}]
            }
            run.use("fetch", {"ids": ["doc-freiburg-2024", "doc-forum-7781"]}, documents, ms=350)
            run.read_data(
                "index:energy", ["doc-freiburg-2024", "doc-forum-7781"], chunks=["doc-freiburg-2024#3", "doc-forum-7781#0"]
            )
            run.use("search", {"query": "tariff heat pump gas Ahlen 2026"}, {"hits": [{"id": "doc-tariff-ahlen", "score": 0.97}]})
            run.use("fetch", {"ids": ["doc-tariff-ahlen"]}, {"documents": [{"id": "doc-tariff-ahlen", "text": _TARIFF}]})
            run.read_data("index:energy", ["doc-tariff-ahlen"])
            run.think("I keep doc-freiburg-2024 and doc-tariff-ahlen. doc-forum-7781 measures nothing and is set aside.")
            run.change_state({"sources": ["doc-freiburg-2024", "doc-tariff-ahlen"], "set_aside": ["doc-forum-7781"], "step": 2})
        with run.agent("Writer", "Answer with numbers and name the source of each.", ("calculate",), node="write"):
            run.use("calculate", {"expression": "24.8 / 3.1"}, {"result": 8.0}, ms=4)
            run.use("calculate", {"expression": "11.2 / 0.95"}, {"result": 11.79}, ms=4)
            run.think(
                "Yes. At the measured seasonal performance factor of 3.1 (doc-freiburg-2024) and 24.8 ct/kWh (doc-tariff-ahlen), "
                "a kWh of heat costs 8.0 ct; from gas at 11.2 ct/kWh and 95 % efficiency it costs 11.79 ct. "
                "The efficiency of 95 % is my assumption.",
                ms=2100,
            )
            run.change_state({"step": 3, "done": True})
        run.say(run.messages[-1]["content"])
    return run


def translation(began_ns: int) -> Script:
    """One chain through several languages and scripts."""
    run = Script(
        "translation", LANG_CHAIN, began_ns, project="research", model="mistral-large-latest", tags=("staging", "lang:many")
    )
    notice = "La piscine municipale sera fermée du 3 au 7 février pour travaux d'étanchéité."
    with run.session(f"Translate this notice for our residents: {notice}", chain="translate-and-check"):
        with run.agent("Translator", "Translate exactly. Keep dates as they are.", ("glossary",)):
            terms = {"étanchéité": {"de": "Abdichtung", "hi": "जलरोधन", "ar": "العزل المائي", "pl": "uszczelnienie"}}
            run.use("glossary", {"terms": ["étanchéité"]}, {"terms": terms}, ms=35)
            for text in (
                "Das städtische Schwimmbad ist vom 3. bis 7. Februar wegen Arbeiten an der Abdichtung geschlossen.",
                "नगर निगम का स्विमिंग पूल जलरोधन कार्य के कारण 3 से 7 फ़रवरी तक बंद रहेगा।",
                "سيغلق المسبح البلدي من 3 إلى 7 فبراير لأعمال العزل المائي.",
                "Basen miejski będzie zamknięty od 3 do 7 lutego z powodu prac nad uszczelnieniem.",
            ):
                run.think(text, ms=640)
                run.say(text)
        with run.agent("Checker", "Compare dates and terms with the original."):
            run.think("All four versions keep 3 to 7 February; the term for étanchéité follows the glossary. ✅", ms=880)
        run.say(run.messages[-1]["content"])
    return run
