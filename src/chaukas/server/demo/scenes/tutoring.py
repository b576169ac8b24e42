"""A long conversation: a lesson with many turns, each of which sends all that was said before."""

from __future__ import annotations

from chaukas.server.demo.script import Script
from chaukas.server.demo.style import LANG_GRAPH

__all__ = ["fractions_lesson"]

#: What the pupil says, the exercise that the tutor looks at, and what the tutor answers.
_TURNS = (
    (
        "I have to add 1/2 and 1/3 and do not know how.",
        "1/2 + 1/3",
        "Find a number that 2 and 3 both divide. Which is the smallest?",
    ),
    ("Is it 6?", "lcm(2, 3)", "Yes, 6. How many sixths are 1/2?"),
    ("3/6", "1/2 * 6", "Right. And how many sixths are 1/3?"),
    ("2/6, so together 5/6!", "3/6 + 2/6", "Exactly, 5/6. Try 1/4 + 1/6 now."),
    ("2/10?", "1/4 + 1/6", "Careful: that adds tops and bottoms. Begin with a number that 4 and 6 both divide."),
    ("24?", "lcm(4, 6)", "24 works. The smallest is 12, which keeps the numbers small."),
    ("3/12 + 2/12 = 5/12", "3/12 + 2/12", "Very good, 5/12. Now subtract: 3/4 - 2/3."),
    ("9/12 - 8/12 = 1/12", "9/12 - 8/12", "1/12 is right. You did that without a hint."),
    ("What about 2/3 times 3/5?", "2/3 * 3/5", "Multiply the tops and the bottoms: 6/15. Can you make it simpler?"),
    ("2/5", "6/15 simplified", "Yes: both were divisible by 3."),
    ("And dividing? 2/5 : 4/5", "2/5 / 4/5", "Multiply by the reciprocal: 2/5 times 5/4 is 10/20."),
    ("which is 1/2", "10/20 simplified", "Correct, 1/2."),
    ("Why does the reciprocal work?", "4/5 * 5/4", "Because 4/5 times 5/4 is 1: dividing by a number undoes multiplying by it."),
    ("Can I have a harder one?", "exercise level 3", "A tank is 2/3 full. 3/8 of the water is used. How full is the tank then?"),
    ("2/3 - 3/8 = 7/24?", "2/3 - 3/8", "3/8 of the water, not of the tank. What is 3/8 of 2/3?"),
    (
        "6/24 = 1/4. So 2/3 - 1/4 = 5/12!",
        "2/3 - 1/4",
        "5/12. That was the hardest of today: 16 steps, 13 of them without help. 🎉",
    ),
)


def fractions_lesson(began_ns: int) -> Script:
    """Sixteen turns over three quarters of an hour; the answer of a calculator stands behind each."""
    run = Script(
        "fractions-lesson", LANG_GRAPH, began_ns, project="tutoring", model="claude-sonnet-4-5", tags=("prod", "grade:6")
    )
    first, *others = _TURNS
    instructions = "You are a patient tutor. Never give the answer before the pupil has tried. Check every value with `check`."
    with run.session(first[0], graph="tutor-v1"), run.agent("Tutor", instructions, ("check",)):
        for number, (said, checked, answer) in enumerate((first, *others), 1):
            if number > 1:
                run.wait(150_000)
                run.ask(said)
            run.use("check", {"expression": checked}, {"expression": checked, "turn": number}, ms=6, thinks_ms=450)
            run.think(answer, ms=760)
            run.say(answer)
            if number % 4 == 0:
                run.change_state({"turn": number, "level": 1 + number // 5})
    return run
