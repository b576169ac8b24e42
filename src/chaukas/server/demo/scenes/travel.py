"""A crew that plans journeys, recorded by the integration of CrewAI."""

from __future__ import annotations

from chaukas.server.demo.script import Failure, Script
from chaukas.server.demo.style import CREW_AI

__all__ = ["trip_to_lisbon"]


def trip_to_lisbon(began_ns: int) -> Script:
    """Two agents, two tools, a flight that sells out, and a booking that a rule allows with a remark."""
    run = Script("trip-to-lisbon", CREW_AI, began_ns, project="travel", model="gpt-4.1", tags=("prod", "crew:journeys"))
    with run.session(
        "Two nights in Lisbon from 12 March for Jana Novák, under 600 EUR in total.", crew="journeys", process="sequential"
    ):
        scout = run.begin_agent("Flight Scout", "Find the cheapest sensible flight.", ("search_flights",), task="find a flight")
        flights = [
            {"flight": "TP 1187", "from": "HAM", "departs": "2026-03-12T09:40", "price": 188.0},
            {"flight": "LH 1166", "from": "HAM", "departs": "2026-03-12T06:15", "price": 241.5},
        ]
        run.use("search_flights", {"from": "HAM", "to": "LIS", "date": "2026-03-12", "nights": 2}, {"flights": flights}, ms=1400)
        run.think("TP 1187 at 188.00 EUR is the cheapest flight that leaves at a sensible hour.")
        run.handoff("Hotel Booker", "the flight is chosen", {"flight": "TP 1187", "price": 188.0, "rest": 412.0}, "sequential")
        run.end_agent(scout)
        tools = ("search_hotels", "book_flight", "book_hotel")
        with run.agent("Hotel Booker", "Find a hotel for the rest of the money, then book both.", tools, task="book everything"):
            hotels = [
                {"hotel": "Casa do Jasmim", "nights": 2, "total": 236.0},
                {"hotel": "Pestana Palace", "nights": 2, "total": 498.0},
            ]
            run.use(
                "search_hotels", {"city": "Lisbon", "from": "2026-03-12", "nights": 2, "total_max": 412.0}, {"hotels": hotels}
            )
            run.read_data("crm://travellers", ["traveller:jana-novak"], ["NAME", "PASSPORT", "DATE_OF_BIRTH"])
            flight = {"flight": "TP 1187", "traveller": "Jana Novák", "price": 188.0}
            run.think(calls=[("book_flight", flight)])
            run.decide("travel-budget", "allow", ["total<=600"], "188.00 + 236.00 = 424.00 EUR stays below 600 EUR")
            sold_out = Failure("TP 1187: no seats left in this fare", "FareUnavailable", action="take the next flight")
            run.run_tool("book_flight", flight, ms=900, failure=sold_out)
            run.fail(sold_out)
            other = {"flight": "LH 1166", "traveller": "Jana Novák", "price": 241.5}
            run.use("book_flight", other, {"booking": "X7QKPL", "flight": "LH 1166", "price": 241.5}, ms=1250)
            hotel = {"hotel": "Casa do Jasmim", "nights": 2, "guest": "Jana Novák"}
            run.use("book_hotel", hotel, {"booking": "CJ-5512", "total": 236.0}, ms=640)
            run.think(
                "Booked: LH 1166 on 12 March at 06:15 (X7QKPL, 241.50 EUR) and two nights in Casa do Jasmim "
                "(CJ-5512, 236.00 EUR), 477.50 EUR in total. TP 1187 for 188.00 EUR had sold out."
            )
        run.say(run.messages[-1]["content"])
    return run
