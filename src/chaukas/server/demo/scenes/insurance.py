"""An insurer's clerks: personal data, rules, and a job that nobody watches."""

from __future__ import annotations

from chaukas.server.demo.script import Failure, Script
from chaukas.server.demo.style import HAND_WRITTEN, LANG_CHAIN
from chaukas.spec.common.v1.events_pb2 import RedactionInfo

__all__ = ["nightly_report", "water_damage"]


def water_damage(began_ns: int) -> Script:
    """A claim in German: health data stay closed, the rest is read, and a person is asked."""
    run = Script("water-damage", LANG_CHAIN, began_ns, project="claims", model="mistral-large-latest", tags=("prod", "lang:de"))
    with run.session("Schaden 2026-0117: Wasserschaden im Bad, Kostenvoranschlag 3.480 EUR. Bitte prüfen.", line="Hausrat"):
        tools = ("lies_vertrag", "lies_gutachten")
        with run.agent("Schadenprüfer", "Prüfe Deckung und Höhe. Nenne jede Quelle. Entscheide nicht über 2.500 EUR.", tools):
            contract = {
                "vertrag": "HR-55021",
                "name": "Thomas Müßig",
                "selbstbehalt": 250,
                "deckung": ["Leitungswasser", "Feuer", "Sturm"],
            }
            run.use("lies_vertrag", {"vertrag": "HR-55021"}, contract, ms=160)
            run.read_data("db2://vertraege", ["HR-55021"], ["NAME", "ADDRESS", "BANK_ACCOUNT"])
            run.events[-1].redaction.CopyFrom(
                RedactionInfo(fields=["data_access.document_ids"], method="mask", salt_id="2026-01")
            )
            run.reseal()
            run.think(calls=[("lies_gesundheitsakte", {"name": "Thomas Müßig"})])
            run.decide(
                "datenschutz", "deny", ["zweck=hausrat", "klasse!=gesundheit"], "Gesundheitsdaten sind für Hausrat nicht nötig"
            )
            report = {
                "gutachten": "G-8891",
                "ursache": "Rohrbruch in der Wand",
                "höhe": 3120,
                "text": "Ursache ist ein Rohrbruch in der Wand.",
            }
            run.use("lies_gutachten", {"schaden": "2026-0117"}, report, ms=240)
            run.read_data("s3://gutachten", ["G-8891"], chunks=["G-8891#1", "G-8891#2"])
            run.think(
                "Ursache ist ein Rohrbruch in der Wand (G-8891), Leitungswasser ist gedeckt (HR-55021). Anerkannt: 3120 EUR "
                "abzüglich 250 EUR Selbstbehalt = 2870 EUR. Das liegt über 2.500 EUR: Bitte ein Mensch entscheiden.",
                ms=1600,
            )
            run.say(run.messages[-1]["content"])
        run.ask("Freigegeben, 2870 EUR. Gruß, K. Öztürk", "supervisor")
        run.decide("vier-augen", "allow", ["freigabe=mensch"], "K. Öztürk hat 2870 EUR freigegeben")
        with run.agent("Schadenprüfer", "Zahle aus, was freigegeben ist.", ("zahle_aus",)):
            run.use("zahle_aus", {"schaden": "2026-0117", "betrag": 2870}, {"auftrag": "Z-30177", "betrag": 2870}, ms=520)
            run.think("2870 EUR sind angewiesen (Z-30177).", ms=420)
        run.say(run.messages[-1]["content"])
    return run


def nightly_report(began_ns: int) -> Script:
    """A job with ids of its own choice: many small steps, one page that is lost, figures of the machine."""
    run = Script(
        "nightly-report",
        HAND_WRITTEN,
        began_ns,
        project="claims",
        model="claude-haiku-4-5",
        session_id="report-2026-01-29",
        tags=("prod", "cron"),
    )
    with run.session("Summarise the claims of 2026-01-29 by region.", asked_by="scheduler", schedule="0 2 * * *"):
        with run.agent("Report Writer", "Summarise. Use only numbers from the warehouse.", ("query_warehouse",)):
            sums = []
            for region, claims, paid in (("north", 41, 61250), ("east", 28, 33900), ("south", 57, 98400)):
                given = {"region": region, "day": "2026-01-29"}
                run.use("query_warehouse", given, {"region": region, "claims": claims, "paid_eur": paid}, ms=310, thinks_ms=380)
                run.read_data("warehouse.claims_daily", [f"2026-01-29/{region}"])
                run.events[-1].infrastructure.host, run.events[-1].infrastructure.process_id = "batch-02", 4117
                run.events[-1].performance.duration_ms, run.events[-1].performance.memory_mb = 310, 412.5
                run.reseal()
                sums.append(f"{region}: {claims} claims, {paid} EUR")
            given = {"region": "west", "day": "2026-01-29"}
            missing = Failure("partition 2026-01-29/west does not exist", "PartitionMissing", action="report without it")
            run.think(calls=[("query_warehouse", given)], ms=390)
            run.run_tool("query_warehouse", given, ms=120, failure=missing)
            run.fail(missing)
            run.think(f"{'; '.join(sums)}. The region west is missing: its partition does not exist.", ms=940)
        run.say(run.messages[-1]["content"])
    return run
