from __future__ import annotations

import asyncio

from autointerp.engine.pace import Allowance, ConcurrencyLimit, Pacer
from autointerp.raters import Headroom


def test_slots_double_until_the_first_refusal_then_grow_by_one_a_round() -> None:
    async def run() -> list[int]:
        limit = ConcurrencyLimit(most=100)
        limit.value = 4.0
        sizes = []
        async with limit.slot() as sent_at:
            pass
        for refuse in (False, False, True, False):
            holders = [asyncio.create_task(hold(limit)) for _ in range(40)]
            await asyncio.sleep(0)
            for _ in range(int(limit.value)):
                limit.succeeded()
            if refuse:
                limit.refused(asyncio.get_running_loop().time())
                limit.refused(sent_at)  # sent before the limit fell: says nothing new
            sizes.append(int(limit.value))
            release.set()
            await asyncio.gather(*holders)
            release.clear()
        return sizes

    async def hold(limit: ConcurrencyLimit) -> None:
        async with limit.slot():
            await release.wait()

    release = asyncio.Event()
    # 4 → 8 → 16; then 16 + 16 halved is 16; then 16 successes at 1/16 each make 16.99 or 17
    sizes = asyncio.run(run())
    assert sizes[:3] == [8, 16, 16]
    assert sizes[3] in (16, 17)


def test_nobody_gets_a_slot_during_a_pause() -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        limit = ConcurrencyLimit(most=4)
        limit.refused(loop.time(), 0.2)
        began = loop.time()
        async with limit.slot():
            return loop.time() - began

    assert asyncio.run(run()) >= 0.19


def test_a_waiter_that_is_cancelled_gives_its_slot_on() -> None:
    async def run() -> bool:
        limit = ConcurrencyLimit(most=1)
        async with limit.slot():
            waiting = [asyncio.create_task(hold(limit)) for _ in range(2)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        await asyncio.wait_for(waiting[1], 1)
        return limit.in_use == 0

    async def hold(limit: ConcurrencyLimit) -> None:
        async with limit.slot():
            pass

    assert asyncio.run(run())


def test_a_bucket_that_is_empty_is_waited_for() -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        bucket = Allowance()
        bucket.update(left=0, limit=600, reset_s=60.0)  # 10 a second
        began = loop.time()
        for _ in range(3):
            await bucket.take(1)
        return loop.time() - began

    assert 0.28 <= asyncio.run(run()) < 2


def test_a_call_over_the_whole_limit_waits_for_a_full_bucket_and_goes() -> None:
    async def run() -> None:
        bucket = Allowance()
        bucket.update(left=99, limit=100, reset_s=0.1)
        await asyncio.wait_for(bucket.take(1000), 5)

    asyncio.run(run())


def test_without_headers_nothing_waits() -> None:
    async def run() -> None:
        pacer = Pacer()
        for _ in range(1000):
            await pacer.take(10_000)
            pacer.landed(10_000, None)
        pacer.landed(0, Headroom())

    asyncio.run(run())
