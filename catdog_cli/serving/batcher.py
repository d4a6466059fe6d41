"""Pictures of many requests, together through the network, without anybody waiting for company.

A picture goes at once where a thread is free. Those that come meanwhile wait, and go together as soon as one
is: batches are as large as the service is busy. A predictor gives a picture the same answer in any company.
Huge pictures, which take seconds, go alone and one after the other, so that no other picture waits for them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .limits import ClientLeftError, RefusedError

NEARLY = 0.75  # of a batch: what is worth its time


@dataclass(eq=False)
class _Job:
    """A picture that waits for the answer of a model."""

    model: str
    source: object
    is_huge: bool
    answer: asyncio.Future


class Batcher:
    """A queue before the networks, and the threads behind it."""

    def __init__(
        self,
        threads: int,
        queue: tuple[int, int],
        run: Callable[[str, list], list],
        sizes: Callable[[str], Sequence[int]],
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Prepare, for any event loop.

        Args:
            threads: batches at a time.
            queue: pictures that may wait, and huge ones among them.
            run: gives, in one of the threads, what a model says of pictures, in order.
            sizes: the sizes of batches that a model computes, rising; others take the time of the next.
            on_batch: told the size of each batch.
        """
        self.queue, self.huge_queue = queue
        self.run, self.sizes, self.on_batch = run, sizes, on_batch
        self.waiting: deque[_Job] = deque()
        self.free = threads
        self.has_huge = False  # in one of the threads
        self._pool = ThreadPoolExecutor(threads, "catdog-serve")

    def check_room(self, count: int = 1, huge: int = 0) -> None:
        """Raise RefusedError where no more pictures, or no more huge ones among them, may wait."""
        waiting_huge = sum(job.is_huge for job in self.waiting) if huge else 0
        if len(self.waiting) + count > self.queue + self.free or waiting_huge + huge > self.huge_queue:
            raise RefusedError(503, "Too many pictures are waiting: try again.", Retry_After="1")

    async def ask(self, model: str, sources: Sequence[object], huge: Sequence[bool]) -> list:
        """Return what a model says of pictures, in order; whoever is cancelled leaves the queue.

        Args:
            model: its name.
            sources: what `run` gets.
            huge: of each, whether it takes seconds.

        Raises:
            RefusedError: the queue is full.
        """
        self.check_room(len(sources), sum(huge))
        loop = asyncio.get_running_loop()
        pairs = zip(sources, huge, strict=True)
        jobs = [_Job(model, source, is_huge, loop.create_future()) for source, is_huge in pairs]
        self.waiting.extend(jobs)
        self._start()
        try:
            return [await job.answer for job in jobs]
        finally:
            for job in jobs:
                if not job.answer.cancel() and not job.answer.cancelled():  # it is there
                    job.answer.exception()  # looked at, or asyncio complains of those behind the first
            if any(job in self.waiting for job in jobs):
                self.waiting = deque(job for job in self.waiting if not job.answer.cancelled())

    def close(self) -> None:
        """End the threads, after what they are at."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> None:
        """Give every free thread a batch, as long as there is something to do."""
        while self.free and (jobs := self._take()):
            self.free -= 1
            self.has_huge = self.has_huge or jobs[0].is_huge
            self.on_batch(len(jobs))
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._work, jobs)
            work.add_done_callback(lambda done, jobs=jobs: self._finish(done, jobs))  # type: ignore[misc]

    def _take(self) -> list[_Job]:
        """Take the pictures of the next batch out of the queue: those of one model, the first in front."""
        first = next((job for job in self.waiting if not (job.is_huge and self.has_huge)), None)
        if first is None:
            return []
        taken = [first]
        if not first.is_huge:
            same = [job for job in self.waiting if job.model == first.model and not job.is_huge]
            taken = same[: choose_size(len(same), self.free, self.sizes(first.model))]
        left = set(map(id, taken))
        self.waiting = deque(job for job in self.waiting if id(job) not in left)
        return taken

    def _work(self, jobs: list[_Job]) -> list[object]:
        """Return the answers of a batch, or an exception in its place; in a thread."""
        try:
            return self.run(jobs[0].model, [job.source for job in jobs])
        except Exception as error:
            if len(jobs) == 1:
                return [error]
        return [
            answer for job in jobs for answer in self._work([job])
        ]  # so that one does not fail the others

    def _finish(self, done: asyncio.Future, jobs: list[_Job]) -> None:
        self.free += 1
        self.has_huge = self.has_huge and not jobs[0].is_huge
        answers = [ClientLeftError()] * len(jobs) if done.cancelled() else done.result()
        for job, answer in zip(jobs, answers, strict=True):
            if job.answer.done():  # nobody waits for it any more
                continue
            if isinstance(answer, Exception):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)
        self._start()


def choose_size(waiting: int, free: int, sizes: Sequence[int]) -> int:
    """Return how many of the pictures that wait go together, where so many threads are free.

    Each free thread gets its part; a size that is not computed as such would take the time of the next larger
    one, so that the next smaller one is taken unless nearly that many wait.
    """
    largest = sizes[-1]
    count = min(-(-waiting // free), largest)
    smaller = max((size for size in sizes if size <= count), default=0)
    larger = min(size for size in sizes if size >= count)
    return count if smaller == 0 or count >= NEARLY * larger else smaller
