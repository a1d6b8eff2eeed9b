"""What all tests share."""

from hypothesis import HealthCheck, settings

# On a busy machine everything is slow at times: that is no defect of the code.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
