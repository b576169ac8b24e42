"""A coding agent that somebody wrote by hand, with the file system, the tests and the repository behind MCP servers."""

from __future__ import annotations

from chaukas.server.demo.script import Failure, Script
from chaukas.server.demo.style import HAND_WRITTEN

__all__ = ["bug_fix", "killed_migration"]

_FILES = "mcp-filesystem"
_GIT = "mcp-git"
_SOURCE = """def days_between(first: date, last: date) -> int:
    \"\"\"Days from first to last, both included.\"\"\"
    return (last - first).days
"""
_TEST_OUTPUT = """FAILED tests/test_rental.py::test_one_day_rental - assert 0 == 1
  where 0 = days_between(date(2026, 1, 30), date(2026, 1, 30))
1 failed, 41 passed in 1.31s"""


def bug_fix(began_ns: int) -> Script:
    """Read, run, change, run again; a push to the protected branch is refused, a pull request is not."""
    run = Script(
        "bug-fix",
        HAND_WRITTEN,
        began_ns,
        project="engineering",
        model="claude-opus-4-1",
        tags=("prod", "repo:rental"),
        branch="issue-214",
    )
    with run.session(
        "Issue 214: a rental of one day is billed with 0 days. Please fix it.", asked_by="developer", host="ci-runner-07"
    ):
        with run.agent("Coding Agent", "Fix the issue with the smallest change. Run the tests before and after.", ("run_tests",)):
            run.list_mcp_tools(_FILES, ["read_file", "edit_file", "list_directory"])
            run.list_mcp_tools(_GIT, ["git_diff", "git_commit", "git_push", "create_pull_request"])
            run.use_mcp(_FILES, "list_directory", {"path": "rental"}, "rental/__init__.py\nrental/dates.py\nrental/invoice.py")
            run.use_mcp(_FILES, "read_file", {"path": "rental/dates.py"}, _SOURCE)
            run.use("run_tests", {"path": "tests"}, {"exit_code": 1, "output": _TEST_OUTPUT}, ms=1900)
            run.think("`days_between` promises both days included, but subtracts only: one day must be added.", ms=1500)
            change = {
                "path": "rental/dates.py",
                "old": "    return (last - first).days\n",
                "new": "    return (last - first).days + 1\n",
            }
            stale = Failure("edit_file: the text to replace occurs 0 times", "EditConflict", action="read the file again")
            run.think(calls=[("edit_file", {**change, "old": "return (last-first).days"})], ms=700)
            run.fail(stale)
            run.use_mcp(_FILES, "edit_file", change, "rental/dates.py: 1 line changed")
            run.use("run_tests", {"path": "tests"}, {"exit_code": 0, "output": "42 passed in 1.28s"}, ms=1850)
            run.use_mcp(_GIT, "git_diff", {}, "-    return (last - first).days\n+    return (last - first).days + 1")
            run.use_mcp(
                _GIT, "git_commit", {"message": "Count both days of a rental (issue 214)"}, "[issue-214 9f31c2a] 1 file changed"
            )
            run.think(calls=[("git_push", {"branch": "main"})], ms=500)
            run.decide("protected-branches", "deny", ["branch!=main"], "main takes changes through pull requests only")
            request = {"branch": "issue-214", "title": "Count both days of a rental (issue 214)"}
            run.use_mcp(_GIT, "create_pull_request", request, "https://git.example.com/rental/pull/215")
            run.think(
                "Fixed in 9f31c2a: `days_between` now counts both days, and 42 tests pass. The pull request is "
                "https://git.example.com/rental/pull/215; I could not push to main."
            )
        run.say(run.messages[-1]["content"])
    return run


def killed_migration(began_ns: int) -> Script:
    """A process that dies at work: retries run out, a tool never answers, and nothing is ended."""
    run = Script("killed-migration", HAND_WRITTEN, began_ns, project="engineering", model="claude-opus-4-1", tags=("staging",))
    run.begin_session("Move the table `bookings` to the new schema.", host="ci-runner-03")
    run.begin_agent("Migration Agent", "Move tables in batches. Never lock a table for more than 5 s.", ("run_sql",))
    run.use("run_sql", {"sql": "SELECT count(*) FROM bookings"}, {"rows": [[1840233]]}, ms=730)
    batch = {"sql": "INSERT INTO bookings_v2 SELECT * FROM bookings WHERE id <= 250000"}
    run.think(calls=[("run_sql", batch)])
    locked = Failure("canceling statement due to lock timeout", "55P03", action="retry with a smaller batch")
    run.run_tool("run_sql", batch, ms=5000, failure=locked)
    for attempt in (1, 2, 3):
        run.retry(attempt, 1000 * 2 ** (attempt - 1), locked.message)
        run.run_tool("run_sql", batch, ms=5000, failure=locked)
    run.fail(Failure("gave up after 3 retries: canceling statement due to lock timeout", "55P03", recoverable=False))
    run.note("the container was told to stop", signal="SIGTERM", exit_code=143)
    run.think(calls=[("run_sql", {"sql": "SELECT pid FROM pg_locks WHERE granted"})])
    return run
