"""The option `tags` of `enqueue`."""

from __future__ import annotations

from typing import Any

import pytest

from outbox.core.errors import MessageError
from outbox.extension.tags import tags_of


@pytest.mark.parametrize(
    ("given", "tags"),
    [
        (None, ()),
        ([], ()),
        (["welcome", "two words", "welcome"], ("welcome", "two words")),
        ({"campaign": "spring", "order-no_2": "a=b"}, ("campaign=spring", "order-no_2=a=b")),
        ((word for word in ("a", "b")), ("a", "b")),
    ],
)
def test_words_and_named_values(given: Any, tags: tuple[str, ...]) -> None:
    assert tags_of(given) == tags


@pytest.mark.parametrize(
    "given",
    [
        "welcome",
        b"welcome",
        7,
        [7],
        [""],
        ["a\r\nBcc: x@example.org"],
        ["a\tb"],
        ["a  b"],
        [" a"],
        ["grün"],
        ["x" * 129],
        ["a=b"],
        {"": "x"},
        {"na me": "x"},
        {"a=b": "x"},
        {"name:": "x"},
        {7: "x"},
        {"name": 7},
        {"name": "a\nb"},
        [str(number) for number in range(11)],
    ],
)
def test_what_cannot_be_a_header_is_refused(given: Any) -> None:
    with pytest.raises(MessageError) as raised:
        tags_of(given)
    assert raised.value.field == "tags"
    assert raised.value.remedy
