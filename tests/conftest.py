"""What all tests share."""

from hypothesis import settings

# A busy machine is no defect: no example fails for its time.
settings.register_profile("relayd", deadline=None)
settings.load_profile("relayd")
