import asyncio

import pytest

from aiodis.pacing.limiter import PERIOD_S, PartitionLimiter

pytestmark = pytest.mark.looptime
KIB = 1024


def now():
    return asyncio.get_running_loop().time()


async def pass_all(limiter, batches, size, count=0):
    """Let batches pass one after the other, and give the times at which they did."""
    times = []
    for _ in range(batches):
        await limiter.acquire(size, count)
        times.append(now())
    return times


def most_in_any_second(times, amount):
    return max(
        sum(amount for other in times if start <= other < start + 1 - 1e-9) for start in times
    )


async def test_the_first_period_passes_at_once():
    limiter = PartitionLimiter(bytes_per_s=1000 * KIB)
    await limiter.acquire(limiter.batch_bytes)
    assert now() == 0


async def test_bytes_pass_at_the_rate():
    limiter = PartitionLimiter(bytes_per_s=1000)
    times = await pass_all(limiter, 50, 100)
    assert times[-1] == pytest.approx((50 * 100 - 250) / 1000, abs=0.1)


async def test_records_pass_at_the_rate():
    limiter = PartitionLimiter(bytes_per_s=1_000_000, records_per_s=100)
    times = await pass_all(limiter, 50, 10, 10)
    assert times[-1] == pytest.approx((50 * 10 - 25) / 100, abs=0.2)


async def test_whichever_limit_is_reached_first_counts():
    by_bytes = PartitionLimiter(bytes_per_s=1000, records_per_s=1_000_000)
    times = await pass_all(by_bytes, 20, 250, 1)
    assert times[-1] == pytest.approx(19 * 0.25, abs=0.1)


async def test_no_second_sees_more_than_the_rate_and_one_periods_burst():
    limiter = PartitionLimiter(bytes_per_s=1000)
    times = await pass_all(limiter, 100, 50)
    assert most_in_any_second(times, 50) <= 1000 + 1000 * PERIOD_S + 50


async def test_after_a_pause_no_more_than_one_period_has_been_saved():
    limiter = PartitionLimiter(bytes_per_s=1000)
    await limiter.acquire(250)
    await asyncio.sleep(60)
    times = await pass_all(limiter, 40, 50)
    assert most_in_any_second(times, 50) <= 1000 + 1000 * PERIOD_S + 50


async def test_a_record_larger_than_the_burst_waits_instead_of_failing():
    limiter = PartitionLimiter(bytes_per_s=1000)
    await limiter.acquire(1000)
    assert now() == pytest.approx(0.75, abs=0.1)


async def test_a_batch_of_more_records_than_the_burst_waits_instead_of_failing():
    limiter = PartitionLimiter(bytes_per_s=1_000_000, records_per_s=100)
    await limiter.acquire(10, 100)
    assert now() == pytest.approx(0.75, abs=0.1)


async def test_without_a_limit_of_records_their_number_does_not_matter():
    limiter = PartitionLimiter(bytes_per_s=1000)
    await limiter.acquire(1, 1_000_000)
    assert now() == 0


async def test_nothing_passes_at_once():
    limiter = PartitionLimiter(bytes_per_s=1000, records_per_s=40)
    await limiter.acquire(limiter.batch_bytes, limiter.batch_records)
    await limiter.acquire(0, 0)
    assert now() == 0


async def test_cancelled_what_was_taken_stays_taken_and_the_rest_is_not():
    limiter = PartitionLimiter(bytes_per_s=1000)
    waiting = asyncio.ensure_future(limiter.acquire(10_000))
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    before = now()
    await limiter.acquire(250)
    # The bucket was empty at most, so one period fills it; the missing 8,750 bytes are not owed.
    assert now() - before == pytest.approx(PERIOD_S, abs=PERIOD_S)


async def test_cancelled_while_it_waits_for_records_no_byte_is_taken():
    limiter = PartitionLimiter(bytes_per_s=1000, records_per_s=40)
    await limiter.acquire(0, limiter.batch_records)
    waiting = asyncio.ensure_future(limiter.acquire(limiter.batch_bytes, 5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await limiter.acquire(limiter.batch_bytes)
    assert now() == 0


@pytest.mark.parametrize(
    ("bytes_per_s", "records_per_s", "expected"),
    [
        # A hair below a quarter of a second's worth.
        (1_000_000, 1000, (249_750, 249)),
        (1_000_000, None, (249_750, None)),
        (2, 1, (1, 1)),  # never a batch of nothing
    ],
)
async def test_a_batch_is_what_passes_in_one_period(bytes_per_s, records_per_s, expected):
    limiter = PartitionLimiter(bytes_per_s=bytes_per_s, records_per_s=records_per_s)
    assert (limiter.batch_bytes, limiter.batch_records) == expected


@pytest.mark.parametrize("rate", [1000, 999.9, 0.3, 7e6])
async def test_a_rate_of_any_size_lets_a_batch_pass(rate):
    limiter = PartitionLimiter(bytes_per_s=rate, records_per_s=rate)
    for _ in range(2):
        await limiter.acquire(limiter.batch_bytes, limiter.batch_records)
