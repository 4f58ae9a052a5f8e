"""The text part that is made of HTML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.message.html_to_text import from_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("<p>One</p><p>Two <b>bold</b>,\n three</p>", "One\n\nTwo bold, three"),
        ("a<br>b<br/><br>c", "a\nb\n\nc"),
        ("<head><title>T</title><style>p{}</style></head><body>x<script>alert(1)</script>y</body>", "xy"),
        ("<style>p{}</style>x<!-- no -->y", "xy"),
        ("Tom &amp; J&eacute;r&#244;me &lt;b&gt;", "Tom & Jérôme <b>"),
        ("<ul><li>one</li><li><p>two</p></li></ul>", "- one\n- two"),
        ("<ol><li>one<ul><li>sub</li></ul></li><li>two</li></ol>", "1. one\n  - sub\n2. two"),
        ("<table><tr><td>Item</td><td>1 €</td></tr><tr><th>Sum</th><td>2 €</td></tr></table>", "Item 1 €\nSum 2 €"),
        ('<img src="x" alt="Logo"> Hello <img src="y">', "Logo Hello"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("a<hr>b", "a\n\n" + "-" * 40 + "\n\nb"),
    ],
)
def test_html_becomes_text(html: str, text: str) -> None:
    """Paragraphs, breaks, lists, cells, images and entities; no style, no script."""
    assert from_html(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="https://x.org/?a=1&amp;b=2">Confirm</a> now', "Confirm <https://x.org/?a=1&b=2> now"),
        ('<a href="https://x.org/">https://x.org/</a>', "https://x.org/"),
        ('<a href="https://x.org/"><img src="b.png"></a>', "<https://x.org/>"),
        ("<A title='a>b' HREF = https://x.org/ >t</A>.", "t <https://x.org/>."),
        ('<a href="https://x.org/">open', "open <https://x.org/>"),
        ('<a href="mailto:a@b.c">write</a> <a href="#top">up</a> <a>no</a>', "write <mailto:a@b.c> up no"),
        ('<a href="https://x.org/1">a<a href="https://x.org/2">b</a></a>', "a <https://x.org/1> b <https://x.org/2>"),
    ],
)
def test_the_url_of_every_link_stands_in_the_text(html: str, text: str) -> None:
    """Once, and not where the text already says it."""
    assert from_html(html) == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    ["<!--", "<a ", "<a href='", "<![CDATA[", "<", "&", "<!", "</", "<a href=x>y", "<ul><li>", "<script>", "<p x='"],
)
def test_broken_html_takes_no_longer_than_sound_html(piece: str) -> None:
    """Users' HTML is read in a request: 100 KB of it must not stop the server, whatever it is."""
    from_html(piece * (100_000 // len(piece)))
    from_html(piece * (100_000 // len(piece)) + ">")


@given(st.text(alphabet="<>/!-[]&;\"'=ab ptrdlihf\n\0", max_size=80))
def test_nothing_makes_it_raise(html: str) -> None:
    """Broken HTML gives some text; no tag that was closed is in it."""
    from_html(html)


@pytest.mark.parametrize(
    "html", ["<![x[ hello", "<![if mso]>hello<![endif]>", "<!hello", "<a href='>hello", "<p hello"]
)
def test_marked_sections_of_word_processors_do_no_harm(html: str) -> None:
    """Conditional comments of Outlook stand in many mail templates."""
    assert isinstance(from_html(html), str)
