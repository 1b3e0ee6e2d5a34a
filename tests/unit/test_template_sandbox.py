"""What a template can print, what it cannot reach, and what is said where it fails."""

from typing import Any

import pytest

from relayd.template_sandbox import TemplateFaultError, rendered, template_problem

EVENT: dict[str, Any] = {
    "id": "evt_1",
    "type": "order.created",
    "created": 1640995200,
    "data": {
        "object": {
            "id": "order_456",
            "total": 4500,
            "name": 'O\'Neil "<b>" é €',
            "items": [{"name": "kale", "quantity": 2}, {"name": "leek", "quantity": 1}],
            "keys": 7,
            "secret_note": "hunter2",
        }
    },
    "market_id": "market_123",
    "api_version": "2024-01-01",
}


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("{{ id }} {{ type }} {{ created }} {{ market_id }} {{ api_version }}",
         "evt_1 order.created 1640995200 market_123 2024-01-01"),
        ("{{ sentence }}",
         "A customer placed an order: order_456 (order.created in market_123, event evt_1)."),
        # An event's keys come before Python's methods.
        ("{% for each in data.object.items %}{{ each.quantity }}{{ each.name }} {% endfor %}",
         "2kale 1leek "),
        ("{{ data.object.keys }}", "7"),
        ("{{ data.items()|list|length }}", "1"),
        ("{{ data.object['items'][1].name }}", "leek"),
        ('{"text":{{ data.object.name|tojson }}}', '{"text":"O\'Neil \\"<b>\\" é €"}'),
        ("{{ data.object.items|tojson }}",
         '[{"name":"kale","quantity":2},{"name":"leek","quantity":1}]'),
        ("{{ '%.2f'|format(data.object.total / 100) }}", "45.00"),
        ("{{ data.object.gone|default('none') }}", "none"),
        ("{{ data.object.gone is defined }}", "False"),
        ("<b>{{ data.object.name }}</b>", '<b>O\'Neil "<b>" é €</b>'),
        ("line\n", "line"),
        ("{% set each = cycler('a', 'b') %}{{ each.next() }}{{ each.next() }}", "ab"),
        ("{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice('é') }}", "éé"),
        ("{{ dict(a=1)|tojson(indent=1) }}", '{\n "a": 1\n}'),
    ],
)  # fmt: skip
def test_it_prints_what_the_event_has(text: str, output: str) -> None:
    assert template_problem(text) is None
    assert rendered(text, EVENT).decode() == output


def test_half_a_character_is_replaced() -> None:
    assert rendered("{{ id }}", {"id": "a\ud83e"}) == b"a?"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("{{ 1 }}\n{{ data.object.gone }}", 2, "'dict object' has no attribute 'gone'"),
        ("\n\n{{ data.object.gone.more }}", 3, "'dict object' has no attribute 'gone'"),
        ("{{ data.object.gone|tojson }}", 1, "'dict object' has no attribute 'gone'"),
        ("{{ data.object.items[7] }}", 1, "list object has no element 7"),
        ("{{ 1 / 0 }}", 1, "division by zero"),
        ("{{ data.object.total + 'x' }}", 1, "unsupported operand type(s) for +: 'int' and 'str'"),
        ("{{ ''.__class__.__mro__ }}", 1,
         "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ ''['__class__'] }}", 1, "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ ''|attr('__class__') }}", 1,
         "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ '{0.__class__}'.format(1) }}", 1,
         "access to attribute '__class__' of 'int' object is unsafe"),
        ("{{ data.object.items.append(1) }}", 1,
         "access to attribute 'append' of 'list' object is unsafe"),
        ("{{ data.object.clear() }}", 1,
         "access to attribute 'clear' of 'dict' object is unsafe"),
        ("{{ cycler.__init__.__globals__ }}", 1,
         "access to attribute '__init__' of 'type' object is unsafe"),
        ("{{ self.__init__ }}", 1,
         "SecurityError"),
        ("{{ range(10000000)|list }}", 1,
         "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)"),
        ("{{ data.object.items|map(attribute='name') }}", 1,
         "prints a generator, which is not text: write |list or |join behind it"),
        ("{{ joiner() }}", 1,
         "prints a Joiner, which is not text: write |list or |join behind it"),
        ("{{ range }}", 1,
         "prints a function, which is not text: write |list or |join behind it"),
        ("{{ [1]|map('string')|tojson }}", 1, "a generator is not JSON: write |list before |tojson"),
        ("{% macro a() %}\n{{ a() }}{% endmacro %}{{ a() }}", 2, "recurses without end"),
        ("{{ 'x' * 1048577 }}", None, "renders more than 1 MiB"),
        ("{% for _ in range(1500) %}{{ 'x' * 1000 }}{% endfor %}", None, "renders more than 1 MiB"),
    ],
)  # fmt: skip
def test_it_says_what_went_wrong_and_where(text: str, line: int | None, message: str) -> None:
    with pytest.raises(TemplateFaultError) as caught:
        rendered(text, EVENT)
    assert (str(caught.value), caught.value.line) == (message, line)
    assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ data[data.object.secret_note] }}",
        "{{ dict(a=1)[data.object.secret_note].b }}",
        "{{ '%d'|format(data.object.secret_note) }}",
        "{{ data|attr(data.object.secret_note) }}",
        "{{ [1]|map(data.object.secret_note)|list }}",
        "{{ 'x'.encode(data.object.secret_note) }}",
        "{{ data.object.secret_note.index('q') }}",
        "{{ {}|groupby(data.object.secret_note) }}{{ 1/0 }}",
    ],
)
def test_no_value_of_the_event_is_in_a_message(text: str) -> None:
    with pytest.raises(TemplateFaultError) as caught:
        rendered(text, EVENT)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("\n{{ data.", 2, "expected name or number"),
        ("{% for x in y %}", 1, "Unexpected end of template"),
        ("\n{{ data|nonsense }}", 2, "No filter named 'nonsense'"),
        ("{{ [1]|random }}", 1, "No filter named 'random'"),
        ("{{ lipsum() }}", 1, "lipsum is not defined"),
        ("\n\n{{ order.id }}", 3, "order is not defined"),
        ("\n{% include 'other' %}", 2, "include, import and extends are not available"),
        ("{% extends 'other' %}", 1, "include, import and extends are not available"),
        ("{% import 'other' as other %}", 1, "include, import and extends are not available"),
        ("(" * 3 + "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", None, "is nested too deeply"),
    ],
)
def test_what_can_never_render_is_found_before(text: str, line: int | None, said: str) -> None:
    problem = template_problem(text)
    assert problem is not None
    assert (problem[0], said in problem[1]) == (line, True), problem


def test_nothing_is_computed_before_it_is_rendered() -> None:
    # This would take all memory, or an hour.
    text = "{{ 'x' * 10 ** 15 }}{{ 9 ** (9 ** 9) }}{{ 'x'|center(10 ** 15) }}{% set x = 9 ** (9 ** 9) %}"
    assert template_problem(text) is None
