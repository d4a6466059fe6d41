"""The queue before the networks: nobody waits for company, answers do not get mixed up, and it has an end."""

import asyncio
import threading

import pytest

from catdog_cli.serving.batcher import Batcher, choose_size
from catdog_cli.serving.limits import RefusedError

SIZES = (1, 4, 16)


class Network:
    """Says twice what it gets, once it is allowed to; keeps the batches."""

    def __init__(self):
        self.batches = []
        self.go = threading.Event()

    def __call__(self, model, sources):
        self.batches.append((model, list(sources)))
        assert self.go.wait(30)
        if any(source < 0 for source in sources):
            raise ValueError(f"bad among {sources}")
        return [2 * source for source in sources]


def run(body, threads=1, queue=(8, 2)):
    """Run `body(batcher, network)` with a network that waits until its `go` is set; return the network."""
    network = Network()
    batcher = Batcher(threads, queue, network, lambda model: SIZES)

    async def main():
        await asyncio.wait_for(body(batcher, network), 60)
        assert not batcher.waiting
        assert batcher.free == threads

    try:
        asyncio.run(main())
    finally:
        network.go.set()
        batcher.close()
    return network


def ask(batcher, *sources, model="a", huge=False):
    return asyncio.ensure_future(batcher.ask(model, sources, [huge] * len(sources)))


async def until(true):
    while not true():
        await asyncio.sleep(0.001)


def test_what_comes_while_it_is_busy_goes_together():
    async def body(batcher, network):
        first = ask(batcher, 1)
        await until(lambda: network.batches)
        rest = [ask(batcher, number) for number in range(2, 8)]
        await asyncio.sleep(0)
        network.go.set()
        assert await first == [2]
        assert [await each for each in rest] == [[2 * number] for number in range(2, 8)]

    # the first went alone and at once; of six, four fill a batch
    assert [sources for _, sources in run(body).batches] == [[1], [2, 3, 4, 5], [6], [7]]


def test_models_do_not_mix():
    async def body(batcher, network):
        asked = [ask(batcher, 0), *(ask(batcher, n, model="ab"[n % 2]) for n in range(1, 7))]
        await asyncio.sleep(0)
        network.go.set()
        assert await asyncio.gather(*asked) == [[2 * number] for number in range(7)]

    batches = run(body).batches
    assert batches[1:3] == [("b", [1, 3, 5]), ("a", [2, 4, 6])]


def test_who_leaves_is_not_computed():
    async def body(batcher, network):
        first, gone, last = ask(batcher, 1), ask(batcher, 2, 3), ask(batcher, 4)
        await until(lambda: network.batches)
        gone.cancel()
        await asyncio.sleep(0)
        assert [job.source for job in batcher.waiting] == [4]
        network.go.set()
        assert await asyncio.gather(first, last) == [[2], [8]]

    assert [sources for _, sources in run(body).batches] == [[1], [4]]


def test_who_leaves_a_batch_under_way_disturbs_nobody():
    async def body(batcher, network):
        first, gone, stays = ask(batcher, 1), ask(batcher, 2), ask(batcher, 3)
        network.go.set()
        await first
        gone.cancel()
        assert await stays == [6]

    run(body)


def test_a_full_queue_refuses():
    async def body(batcher, network):
        asked = [ask(batcher, number) for number in range(9)]  # one in the network, eight wait
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="Too many pictures are waiting") as refused:
            await ask(batcher, 9)
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        network.go.set()
        await asyncio.gather(*asked)
        assert await ask(batcher, 9) == [18]

    run(body)


def test_one_that_fails_does_not_fail_the_others():
    async def body(batcher, network):
        asked = [ask(batcher, number) for number in (0, 1, -1, 2)]
        await asyncio.sleep(0)
        network.go.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert (found[0], found[1], found[3]) == ([0], [2], [4])
        assert str(found[2]) == "bad among [-1]"

    run(body)


def test_huge_ones_go_alone_and_one_after_the_other():
    async def body(batcher, network):
        asked = [ask(batcher, 1, huge=True), ask(batcher, 2, huge=True), ask(batcher, 3), ask(batcher, 4)]
        await until(lambda: len(network.batches) == 2)
        assert network.batches == [("a", [1]), ("a", [3])]
        with pytest.raises(RefusedError, match="Too many"):
            await ask(batcher, 5, 6, huge=True)
        network.go.set()
        assert await asyncio.gather(*asked) == [[2], [4], [6], [8]]

    assert ("a", [2]) in run(body, threads=2).batches


@pytest.mark.parametrize(
    ("waiting", "free", "sizes", "count"),
    [
        (1, 1, SIZES, 1),
        (2, 2, SIZES, 1),  # a thread each
        (2, 1, SIZES, 1),
        (3, 1, SIZES, 3),  # as four
        (7, 1, SIZES, 4),
        (12, 1, SIZES, 12),
        (40, 1, SIZES, 16),
        (40, 4, SIZES, 4),
        (3, 1, (4,), 3),
        (9, 1, (4,), 4),
        (50, 2, (32,), 25),
        (9, 1, tuple(range(1, 17)), 9),
    ],
)
def test_batches_are_of_sizes_that_are_computed(waiting, free, sizes, count):
    assert choose_size(waiting, free, sizes) == count
