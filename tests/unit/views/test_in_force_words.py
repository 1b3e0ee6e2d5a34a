"""What of the configuration is not in force, in a phrase for the summary of `status`."""

import pytest

from relayd.views.in_force import not_in_force


def _answer(
    *changed: tuple[str, str], count: int | None = None, refused: bool = False
) -> dict[str, object]:
    return {
        "config": "/etc/relayd/config.yaml",
        "reloading": False,
        "changed": [{"path": f"/etc/relayd/{path}", "change": change} for path, change in changed],
        "changed_count": len(changed) if count is None else count,
        "refused": {"at": 1.0, "problem": "no", "problems": 1} if refused else None,
    }


@pytest.mark.parametrize(
    ("changed", "phrase"),
    [
        ([], None),
        ([("config.yaml", "changed")], "config.yaml changed but not loaded"),
        (
            [("config.yaml", "changed"), ("ca.pem", "missing"), ("d/books.yaml", "new")],
            "config.yaml changed but not loaded, ca.pem gone but still in force, books.yaml not loaded",
        ),
        (
            [("config.yaml", "changed"), ("key", "unreadable"), ("books", "changed")],
            "config.yaml and books changed but not loaded, key not readable by relayd but still in force",
        ),
        (
            [(f"d/{number}.yaml", "new") for number in range(5)],
            "0.yaml, 1.yaml and 3 more files not loaded",
        ),
        (
            [(f"d/{number}.yaml", "new") for number in range(3)],
            "0.yaml, 1.yaml and 1 more file not loaded",
        ),
    ],
)
def test_each_file_has_its_own_phrase(changed: list[tuple[str, str]], phrase: str | None) -> None:
    assert not_in_force(_answer(*changed)) == phrase


def test_what_the_daemon_does_not_name_is_counted() -> None:
    found = not_in_force(_answer(("config.yaml", "changed"), count=31, refused=True))
    assert found == (
        "config.yaml changed but not loaded, 30 more files not as loaded (reload refused)"
    )
