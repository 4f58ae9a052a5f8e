"""Rates and quotas, as far as they are arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outbox.delivery.permits import Standing, permits
from outbox.delivery.rate_limits import DAY, SECOND, SLACK, WIDTH, DayUse, RateLimits, bucket_end, held, parse

NOW = 1_795_760_700 * SECOND


def test_a_rate_is_read_in_the_words_that_people_use() -> None:
    assert parse("5/s") == parse("5 / second") == parse(" 5/sec") == RateLimits(second=5)
    assert parse("5/s, 30/m; 1000/hours,2000/d") == RateLimits(5, 30, 1000, 2000)
    assert str(parse("5/s,2000/d")) == "5/second, 2000/day"


@pytest.mark.parametrize("text", ["", "5", "5/fortnight", "quick", "0/s", "-1/s", "5/s, 6/second", "1.5/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_a_limit_that_another_makes_pointless_is_named() -> None:
    assert parse("10/s, 5/m").pointless() == ("10/second", "5/minute")
    assert parse("10/h, 10/d").pointless() == ("10/hour", "10/day")
    assert parse("10/s, 500/m, 2000/d").pointless() is None


def test_what_is_left_open_is_filled_up_as_far_as_it_fits() -> None:
    assert parse("5/s").filled_up(parse("30/m, 10000/d")) == parse("5/s, 30/m, 10000/d")
    assert parse("20/d").filled_up(parse("30/m, 10000/d")) == parse("20/d")


@given(st.integers(1, 5_000), st.sampled_from(["minute", "hour"]))
def test_no_window_holds_more_than_the_limit(number: int, word: str) -> None:
    """After a pause as many as the burst, and then one each interval."""
    cell = RateLimits(**{word: number}).cells()[word]
    window = {"minute": 60, "hour": 3_600}[word] * SECOND
    assert cell.burst + (window + SLACK - 1) // cell.interval <= number
    assert cell.burst + (window + SLACK) / cell.interval >= number * 0.9


@given(st.integers(1, 2_000))
def test_no_second_holds_more_than_one_above_the_rate(number: int) -> None:
    """Even if the first goes as late as it may, and all others in time."""
    cell = RateLimits(second=number).cells()["second"]
    assert -(-(SECOND + cell.leeway) // cell.interval) <= number + 1
    assert SECOND / cell.interval >= 0.95 * number


@given(
    st.sampled_from([200, 7_999, 8_000, 20_000]),
    st.booleans(),
    st.integers(1, 200),
    st.integers(1, 3_000),
    st.integers(0, 2_000),
)
@example(7_999, True, 79, 529, 0)  # a batch right after permits that had moments of their own
@example(8_000, True, 142, 906, 0)
def test_no_second_has_too_many_whenever_permits_are_used(
    number: int, paced: bool, pause: int, wanted: int, late_until: int
) -> None:
    """What is given out until a moment is used as late as it may be, what comes then at once. Milliseconds."""
    asked = [(at, wanted) for at in range(0, 3_000, pause)]
    assert _most_in_a_second(number, asked, paced=paced, late_until=late_until) <= number + 1


_MOMENTS_THEN_BATCHES = [(108 * n, 23) for n in range(18)] + [(2_336, 1), (2_338, 23), (2_340, 23)]


@given(
    st.sampled_from([175, 200, 1_000, 8_000]),
    st.lists(st.tuples(st.integers(1, 400), st.floats(0.0, 1.5)), min_size=2, max_size=60),
    st.integers(0, 2_000),
)
def test_no_second_has_too_many_whatever_is_asked_for(
    number: int, asked: list[tuple[int, float]], late_until: int
) -> None:
    """By pauses in milliseconds, and as what share of what the rate gives in each."""
    at, wanted = 0, []
    for pause, share in asked:
        at += pause
        wanted.append((at, max(1, int(number * pause / 1_000 * share))))
    assert _most_in_a_second(number, wanted, paced=True, late_until=late_until) <= number + 1


@pytest.mark.parametrize("times", [1, 5])
def test_a_small_batch_leaves_no_room_to_a_large_one(times: int) -> None:
    """That follows it within the second in which permits had moments of their own."""
    asked = [(at, wanted * times if wanted > 1 else 1) for at, wanted in _MOMENTS_THEN_BATCHES]
    assert _most_in_a_second(200 * times, asked, paced=True) <= 200 * times + 1


def test_a_clock_that_was_stepped_back_is_told_from_a_long_wait() -> None:
    """What another statement gave out while this one waited for the row counts, up to the longest wait."""
    cells = RateLimits(second=1_000).cells()
    far = Standing(NOW + cells["second"].furthest, 0, 0, 0, 0, 0, 0)
    assert permits(far, cells, None, 100, now=NOW).count == 0
    assert permits(far, cells, None, 100, now=NOW - 1).count == 100


def _most_in_a_second(number: int, asked: list[tuple[int, int]], *, paced: bool, late_until: int = 0) -> int:
    """`asked`: (milliseconds, permits). Each is used at once, or until `late_until` as late as it may be."""
    cells, standing = RateLimits(second=number).cells(paced=paced), Standing(0, 0, 0, 0, 0, 0, 0)
    cell, used = cells["second"], []
    for at, wanted in asked:
        now, late = NOW + at * 1_000, at < late_until
        given = permits(standing, cells, None, wanted, now=now)
        standing, first = given.standing, now + given.first
        if given.is_batch or not paced:
            life = cell.batch.life if given.is_batch and cell.batch is not None else cell.life
            used.append((first + late * life, given.count))
        else:
            used += [(first + one * cell.interval + late * cell.leeway, 1) for one in range(given.count)]
    used.sort()
    begin = within = most = 0
    for at, count in used:
        within += count
        while used[begin][0] <= at - SECOND:
            within -= used[begin][1]
            begin += 1
        most = max(most, within)
    return most


def test_a_lower_rate_for_now_holds_also_where_there_is_none() -> None:
    assert RateLimits().cells() == {}
    assert RateLimits().cells(0.5)["second"].interval == 2 * SECOND
    assert RateLimits(second=5).cells(1.0)["second"].interval == SECOND
    assert RateLimits(second=5).cells(50.0) == RateLimits(second=5).cells()


@given(st.lists(st.tuples(st.integers(0, 3 * DAY), st.integers(1, 40)), max_size=200), st.integers(1, 100))
def test_in_any_day_there_are_never_more_than_the_quota(offers: list[tuple[int, int]], most: int) -> None:
    """Offers at any times, of which as many are taken as are free."""
    use, taken = DayUse(), list[tuple[int, int]]()
    for at, wanted in sorted(offers):
        use = DayUse.of(use.buckets, at)
        count = min(wanted, most - use.used)
        if count:
            use = DayUse.of([*use.buckets, (bucket_end(at), count)], at)
            taken.append((at, count))
        assert len(use.buckets) <= DAY // WIDTH + 2
    for start, _ in taken:
        assert sum(count for at, count in taken if start <= at <= start + DAY) <= most


def test_a_quota_is_free_again_a_day_and_a_bucket_later() -> None:
    use = DayUse.of([(bucket_end(NOW), 100)], NOW)
    free_at = use.free_at(100)
    assert free_at is not None
    assert DAY <= free_at - NOW <= DAY + WIDTH + SLACK
    assert DayUse.of(use.buckets, free_at).used == 0
    assert DayUse.of(use.buckets, free_at - 1).used == 100


def test_what_was_not_used_is_taken_from_the_time_at_which_it_was_reserved() -> None:
    earlier = NOW - 2 * WIDTH
    use = DayUse.of([(bucket_end(earlier), 5), (bucket_end(NOW), 5)], NOW)
    assert [one.number for one in use.without(3, earlier).buckets] == [2, 5]
    assert [one.number for one in use.without(7, NOW).buckets] == [3]  # some were given out before, or the clock jumped
    assert use.without(12, NOW).used == 0


def test_a_clock_that_was_stepped_back_loses_no_count() -> None:
    use = DayUse.of([(bucket_end(NOW), 7)], NOW - 5 * 3_600 * SECOND)
    assert use.used == 7
    assert use.good_until(NOW - 5 * 3_600 * SECOND) > NOW - 5 * 3_600 * SECOND


def test_what_holds_mail_back_is_the_limit_that_lasts_longest() -> None:
    limits = parse("5/s, 30/m, 100/d")
    used_up = DayUse.of([(bucket_end(NOW), 100)], NOW)
    found = held(limits, {"second": NOW + 2 * SECOND, "minute": 0, "hour": 0}, used_up, NOW)
    assert found is not None
    assert found.limit == "100/day"
    assert (found.until - datetime.fromtimestamp(NOW / SECOND, UTC)).total_seconds() > 86_400
    minute = held(limits, {"second": NOW, "minute": NOW + SECOND}, DayUse(), NOW)
    assert minute is not None
    assert minute.limit == "30/minute"
    assert held(limits, {"second": NOW + SECOND // 2}, DayUse(), NOW) is None
