"""The clock that relayd goes by."""

from relayd.clock import Clock

HOUR = 3600.0


class Clocks:
    """The system's clock, and the one that is never set."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.steady = 100.0
        self.slow_readings = 0

    def read_wall(self) -> float:
        if self.slow_readings:
            # The process was stopped between its two readings.
            self.slow_readings -= 1
            self.pass_by(60.0)
        return self.wall

    def read_steady(self) -> float:
        return self.steady

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_it_is_set_only_when_it_follows() -> None:
    clocks = Clocks()
    clock = Clock(clocks.read_wall, clocks.read_steady)
    clocks.pass_by(5.0)
    assert clock.now() == clocks.wall
    clocks.wall += HOUR
    assert clock.now() == clocks.wall - HOUR
    assert clock.follow() == HOUR
    assert clock.now() == clocks.wall
    assert clock.follow() == 0.0


def test_it_follows_a_clock_that_runs_a_little_fast() -> None:
    clocks = Clocks()
    clock = Clock(clocks.read_wall, clocks.read_steady)
    for _ in range(1000):
        clocks.pass_by(1.0)
        clocks.wall += 0.01
        assert clock.follow() == 0.0
    assert clock.now() == clocks.wall


def test_a_stop_between_two_readings_is_no_step() -> None:
    clocks = Clocks()
    clock = Clock(clocks.read_wall, clocks.read_steady)
    clocks.slow_readings = 3
    assert clock.follow() == 0.0
    clocks.slow_readings = 1_000
    assert clock.follow() == 0.0
    clocks.slow_readings = 0
    assert clock.follow() == 0.0
    assert clock.now() == clocks.wall


def test_the_system_s_clocks_agree() -> None:
    clock = Clock()
    assert clock.follow() == 0.0


def test_its_age_knows_no_step() -> None:
    clocks = Clocks()
    clock = Clock(clocks.read_wall, clocks.read_steady)
    clocks.pass_by(60.0)
    for step in (HOUR, -30 * 24 * HOUR):
        clocks.wall += step
        assert clock.age() == 60.0
        clock.follow()
        # When it was made, by the clock as it is set now.
        assert clock.now() - clock.age() == clocks.wall - 60.0
