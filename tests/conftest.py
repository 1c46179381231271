"""Shared fixtures, and the rule that a run in which everything was skipped has failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, without a limit of time: what a change of ours is refused for shall be the change, and not the
# machine's other work. `make soak` takes new ones.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("new", settings.get_profile("same"), derandomize=False)
settings.load_profile("same")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of 727 real files with exact sums; tests that need it skip where it is absent."""
    if not (SHARED / "golden.csv").is_file():
        pytest.skip("the folder of real files (shared/data beside the checkout) is not here")
    return SHARED


@pytest.fixture(scope="session")
def all_decided(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """decisions.toml that packs every real file that would wait in quarantine: they hold no person's name."""
    from radload.pack.decisions import write_template
    from radload.review.find import find_groups

    folder = tmp_path_factory.mktemp("decided")
    groups = [(group, len(headers), 0) for group, headers in find_groups(shared_data, folder / "none", 0).items()]
    path = folder / "decisions.toml"
    path.write_text(write_template(groups, {group.name: {"decision": "pack"} for group, _, _ in groups}), "utf-8")
    return path


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or session.config.option.collectonly or exitstatus != 0:
        return
    if reporter.stats.get("skipped") and not reporter.stats.get("passed"):
        reporter.write_line("every test was skipped: nothing was proven", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
