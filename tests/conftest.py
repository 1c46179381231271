"""Shared fixtures, and the rule that a run in which everything was skipped has failed."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of 727 real files with exact sums; tests that need it skip where it is absent."""
    if not (SHARED / "golden.csv").is_file():
        pytest.skip("the folder of real files (shared/data beside the checkout) is not here")
    return SHARED


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or session.config.option.collectonly or exitstatus != 0:
        return
    if reporter.stats.get("skipped") and not reporter.stats.get("passed"):
        reporter.write_line("every test was skipped: nothing was proven", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
