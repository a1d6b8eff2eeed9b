"""What all tests share."""

import sys

from hypothesis import HealthCheck, settings

# On a busy machine everything is slow at times: that is no defect of the code.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_runtest_setup() -> None:
    """Undo what a training in an earlier test set for the whole process: Hypothesis needs denormal numbers."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
