"""What is made for each event compares, hashes and shows itself as a frozen dataclass does."""

from dataclasses import field, replace

import pytest

from relayd.core.value import value


@value
class Parcel:
    number: int
    content: bytes = field(default=b"", repr=False)
    notes: list[str] = field(default_factory=list, compare=False)


def test_it_is_compared_and_hashed_by_what_it_holds() -> None:
    assert Parcel(1, b"x") == Parcel(1, b"x", ["late"]) != Parcel(2, b"x")
    assert len({Parcel(1), Parcel(1, notes=["late"]), Parcel(2)}) == 2


def test_what_is_hidden_is_not_shown_and_a_changed_copy_can_be_made() -> None:
    parcel = replace(Parcel(1, b"secret"), number=2)
    assert repr(parcel) == f"{Parcel.__qualname__}(number=2, notes=[])"
    assert parcel.content == b"secret"


def test_it_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        object.__setattr__(Parcel(1), "weight", 3)
