# ruff: noqa: RUF001  Japanese has punctuation of its own.
"""A web shop's support desk, recorded by the integration of OpenAI Agents."""

from __future__ import annotations

from chaukas.server.demo.script import Failure, Script
from chaukas.server.demo.style import OPENAI_AGENTS

__all__ = ["double_charge", "refund_denied", "streamed_answer"]

_PROJECT = "support"
_MODEL = "gpt-4o-mini"
_TERMS = (
    "Refunds, section 4.2: goods that arrive damaged are refunded in full within 30 days of delivery "
    "if a photo shows the damage. Amounts above 150 EUR need the approval of a team lead."
)


def refund_denied(began_ns: int) -> Script:
    """A refund that the terms allow and a policy forbids: it does not run, and a colleague approves half of it."""
    run = Script("refund-denied", OPENAI_AGENTS, began_ns, project=_PROJECT, model=_MODEL, tags=("prod", "channel:chat"))
    with run.session("My espresso machine from order 48213 arrived with a broken tank. I want my money back.", channel="chat"):
        agent = run.begin_agent(
            "Support Agent",
            "You help customers of the Bergmann web shop. Check the order and the terms before you promise anything.",
            ("lookup_order", "search_terms", "refund_order", "send_email"),
        )
        order = {
            "order_id": "48213",
            "customer": "Ines Ferreira",
            "email": "ines.ferreira@example.com",
            "item": "Espresso machine Torino X2",
            "total": 289.9,
            "currency": "EUR",
            "delivered_on": "2026-01-26",
        }
        run.use("lookup_order", {"order_id": "48213"}, order, ms=95)
        run.read_data("postgres://shop/orders", ["order:48213", "customer:9127"], ["NAME", "EMAIL", "ADDRESS"])
        run.use("search_terms", {"query": "refund damaged goods"}, {"documents": [{"id": "terms-4.2", "text": _TERMS}]}, ms=210)
        run.read_data("index:terms", ["terms-4.2"], chunks=["terms-4.2#0"])
        refund = {"order_id": "48213", "amount": 289.9, "currency": "EUR", "reason": "arrived damaged"}
        run.think(calls=[("refund_order", refund)])
        run.decide(
            "refund-limits",
            "deny",
            ["refund.amount<=150", "refund.role=agent"],
            "289.90 EUR is above the 150 EUR that an agent may refund alone; ask a team lead",
        )
        run.think("I may not refund 289.90 EUR myself. I am asking a team lead to approve it.", ms=910)
        run.handoff("Team Lead", "a refund above the limit of 150 EUR", {"order_id": "48213", "amount": 289.9})
        run.end_agent(agent)
        with run.agent(
            "Team Lead", "You decide about refunds above the limit. Be fair and brief.", ("refund_order", "send_email")
        ):
            half = {"order_id": "48213", "amount": 144.95, "currency": "EUR", "reason": "half now, the rest after the photo"}
            run.think(calls=[("refund_order", half)], ms=1120)
            run.decide(
                "refund-limits", "allow", ["refund.amount<=500", "refund.role=lead"], "144.95 EUR is within a lead's limit"
            )
            run.run_tool(
                "refund_order", half, {"refund_id": "RF-70311", "refunded": 144.95, "currency": "EUR"}, ms=380, http_status=201
            )
            mail = {"to": "ines.ferreira@example.com", "subject": "Your refund RF-70311", "template": "refund-part"}
            run.use("send_email", mail, {"queued_as": "msg-000168"})
            run.think(
                "I have refunded 144.95 EUR (RF-70311), half of the 289.90 EUR, now. Section 4.2 of our terms asks for a photo "
                "of the damage; send it within 30 days of the delivery on 2026-01-26, and the other half follows."
            )
        run.say(run.messages[-1]["content"])
    return run


def double_charge(began_ns: int) -> Script:
    """Triage, a handoff to billing, two tools at once, and a rate limit that the second try survives."""
    run = Script("double-charge", OPENAI_AGENTS, began_ns, project=_PROJECT, model=_MODEL, tags=("prod", "channel:mail"))
    with run.session("I was charged twice for order 50077.", channel="mail"):
        triage = run.begin_agent("Triage Agent", "You route the customer to the right team.", ("transfer_to_billing",))
        run.think(calls=[("transfer_to_billing", {"reason": "double charge"})], ms=540)
        run.handoff("Billing Agent", "double charge", {"order_id": "50077"}, "direct")
        run.end_agent(triage)
        with run.agent("Billing Agent", "You solve questions about payments.", ("list_charges", "lookup_order", "void_charge")):
            limited = Failure("Error code: 429 - Rate limit reached for gpt-4o-mini: limit 500 / min", "RateLimitError")
            run.think(failure=limited, ms=90)
            run.retry(1, 1000, limited.message)
            calls = [("list_charges", {"order_id": "50077"}), ("lookup_order", {"order_id": "50077"})]
            run.think(calls=calls)
            charges = [
                {"id": "ch_881", "amount": 64.5, "status": "captured"},
                {"id": "ch_882", "amount": 64.5, "status": "authorised"},
            ]
            run.run_tool(*calls[0], {"charges": charges}, ms=260)
            run.run_tool(*calls[1], {"order_id": "50077", "total": 64.5, "currency": "EUR", "state": "shipped"}, ms=80)
            run.read_data("stripe://charges", ["ch_881", "ch_882"], ["PAYMENT_CARD"])
            run.use("void_charge", {"charge_id": "ch_882"}, {"id": "ch_882", "status": "voided"}, ms=450)
            run.think("The second charge ch_882 over 64.50 EUR was only reserved; I have voided it. You paid 64.50 EUR once.")
        run.say(run.messages[-1]["content"])
    return run


def streamed_answer(began_ns: int) -> Script:
    """An answer in Japanese that leaves in pieces."""
    run = Script("streamed-answer", OPENAI_AGENTS, began_ns, project=_PROJECT, model=_MODEL, tags=("prod", "lang:ja"))
    with run.session("注文番号60418はいつ届きますか？", channel="chat"):
        with run.agent("サポート担当", "日本語で丁寧に、短く答えてください。", ("track_parcel",)):
            parcel = {
                "order_id": "60418",
                "carrier": "ヤマト運輸",
                "place": "東京ベース",
                "eta": "2026-02-01",
                "window": "14:00-16:00",
            }
            run.use("track_parcel", {"order_id": "60418"}, parcel, ms=320)
            pieces = (
                "お荷物は現在、ヤマト運輸の",
                "東京ベースにございます。",
                "2月1日（2026-02-01）の",
                "14:00-16:00に",
                "お届け予定です。📦",
            )
            run.think("".join(pieces), ms=700)
            run.stream(pieces)
        run.ask("ありがとう！")
        with run.agent("サポート担当", "日本語で丁寧に、短く答えてください。", ("track_parcel",)):
            run.think("どういたしまして。", ms=310)
            run.stream(("どう", "いたし", "まして。"), ms=90)
    return run
