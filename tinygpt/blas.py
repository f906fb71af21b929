"""How many threads BLAS has: held to a number, or chosen while a model runs.

A matrix product on several threads ends when the last of them has done its part, and OpenBLAS's threads wait by
spinning. On a machine that does nothing else this pays. Beside other processes one of them is always waiting for a
core, once in every product, and a model writes a tenth of the tokens or fewer. No number of threads is right for both.
So the time of a few steps is taken with one thread and with all, the quicker way is kept, and the other one is looked
at again now and then.

The number is the whole process's. One thread of Python at a time chooses it, for as long as its step takes; the others
leave it alone, and so do all while it is held. Training holds BLAS to one thread, also while it validates and writes
samples: sums on several threads are rounded otherwise, and a resumed run must end in the same bytes.

Prerequisites: autograd/recording.py. Used by models/, evaluation/, training/ and cli/.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import numpy as np

from .autograd.recording import is_grad_enabled

__all__ = ["Choice", "blas_can_be_held", "blas_threads", "chooses_threads", "numerics"]

FIXED_BY = frozenset(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"))  # who sets one of these chooses

Function = TypeVar("Function", bound=Callable[..., Any])


def _libraries() -> list[Any]:
    """threadpoolctl's controller of each BLAS that is loaded; none on macOS, whose Accelerate it does not know."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


class _Blas:
    """Who has said how many threads there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[int] = []
        self._before: list[tuple[Any, int]] = []  # what each library had before anybody said anything
        self._known: list[Any] | None = None  # finding them takes milliseconds, setting them a microsecond

    def hold(self, n: int) -> None:
        """One more who wants n threads; the smallest number counts."""
        with self._lock:
            if not self._held:
                self._set(None)  # a choice ends; then the libraries of today are looked for
                self._known = _libraries()
            self._held.append(n)
            self._set(min(self._held))

    def release(self, n: int) -> None:
        """One fewer; after the last one it is as before the first."""
        with self._lock:
            self._held.remove(n)
            self._set(min(self._held, default=None))

    def open(self) -> bool:
        """Whether there is anything to choose: several threads, held by nobody, and no number in the environment."""
        if not FIXED_BY.isdisjoint(os.environ):
            return False
        if self._known is None:
            self._known = _libraries()
        return not self._held and any(library.num_threads > 1 for library in self._known)

    def choose(self, n: int | None) -> None:
        """n threads for a step, or after it, None: as before. Where somebody holds BLAS, nothing."""
        with self._lock:
            if not self._held:
                self._set(n)

    def _set(self, n: int | None) -> None:
        if n is None:
            for library, had in self._before:
                library.set_num_threads(had)
            self._before = []
        else:
            self._before = self._before or [(library, library.num_threads) for library in self._known or ()]
            for library, _ in self._before:
                library.set_num_threads(n)


_blas = _Blas()


@contextlib.contextmanager
def blas_threads(n: int | None) -> Iterator[None]:
    """Hold BLAS to n threads inside the block, or to fewer while another block wants fewer; None holds nothing."""
    if n is None:
        yield
        return
    _blas.hold(n)
    try:
        yield
    finally:
        _blas.release(n)


def blas_can_be_held() -> bool:
    """Whether `blas_threads` has a BLAS to hold; macOS's Accelerate is none."""
    return bool(_libraries())


def numerics() -> str:
    """What the last digits of a sum depend on, such as "NumPy 2.4.0, openblas 0.3.31 Haswell": NumPy's version, and
    each BLAS with its version and the kernels that it has chosen for this processor."""
    found = [f"{library.internal_api} {library.version} {getattr(library, 'architecture', None) or ''}".strip()
             for library in _libraries()]
    return ", ".join([f"NumPy {np.__version__}",
                      *(found or [np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]])])


# ---------------------------------------------------------------------------------------------------------------------
# The choice

ONE, ALL = 0, 1

STEPS, ENOUGH = 4, 0.02  # a look takes so many steps and seconds
MANY = 300  # or so many steps
MEMORY = 0.3  # the cost of the way that is used is averaged over so many seconds, or over 2 · STEPS steps
BETTER = 0.9  # the other way is taken if it costs at most so much of what this one does
HOPELESS = 2.0  # a look ends early when it has cost so many times as much
PRODUCTS, WORTH = 16, 1.1  # of the small job before a look at ALL, which may take so many times as long as with ONE
CHANGED = 1.3  # the cost rose or fell so many times: the machine does something else now
SHORTEST, LONGEST = 0.5, 5.0  # seconds to the next look; each look that changes nothing doubles them
PRICE, PRICE_OF_CHANGE = 25.0, 16.0  # at least so many times what the last look lost; PRICE / 2 times what it took


class Choice:
    """Which of two ways to run the steps of a model, by the time that they take.

    Only steps of one kind that follow one another are compared. It begins with ONE, which is never far from the better
    one; ALL may be.

    Args:
        try_all: a small job, done with ONE and with ALL: whether ALL was no worse, and how many seconds it took.
            It is done before each look at ALL, since a whole step beside many other processes may take a minute.

    >>> choice = Choice()
    >>> for step in range(20):                            # ALL takes 0.1 seconds, ONE 0.2
    ...     way = choice.way("decode")
    ...     choice.took([0.2, 0.1][way], work=1)
    >>> choice.better == ALL
    True
    """

    def __init__(self, try_all: Callable[[], tuple[bool, float]] = lambda: (True, 0.0)) -> None:
        self.better, self._try_all = ONE, try_all
        self._now = 0.0  # seconds of steps: what passes between them neither costs nor pays for a look
        self._pause, self._look, self._soonest = SHORTEST, -math.inf, -math.inf
        self._begin(None)

    def _begin(self, kind: Hashable) -> None:
        self._kind = kind
        self._steps, self._seconds, self._work = 0, 0.0, 0.0  # of the better way
        self._usual: float | None = None  # what it cost when that was last compared
        self._trying: list[float] | None = None  # steps, seconds and work of the other one

    @property
    def _cost(self) -> float:
        """Seconds for one unit of work."""
        return self._seconds / self._work

    def way(self, kind: Hashable) -> int:
        """How to run the next step; steps of the same kind take the same time for the same work."""
        if kind != self._kind:
            self._begin(kind)
        if self._trying is None and self._steps >= STEPS and (self._seconds >= ENOUGH or self._steps >= MANY):
            self._usual = self._usual or self._cost
            changed = not 1 / CHANGED < self._cost / self._usual < CHANGED
            if self._now >= self._look or changed and self._now >= self._soonest:
                worth, seconds = self._try_all() if self.better == ONE else (True, 0.0)
                if worth:
                    self._trying = [0, 0.0, 0.0]
                else:
                    self._wait(seconds, seconds)
        return self.better if self._trying is None else 1 - self.better

    def took(self, seconds: float, work: float) -> None:
        """How long the step took, for how much work."""
        self._now += seconds
        if self._trying is None:
            fade = math.exp(-min(seconds / MEMORY, 0.5 / STEPS))
            self._steps += 1
            self._seconds, self._work = self._seconds * fade + seconds, self._work * fade + work
            return
        self._trying = [self._trying[0] + 1, self._trying[1] + seconds, self._trying[2] + work]
        n, spent, done = self._trying
        lost = spent - self._cost * done
        if (n >= STEPS and spent >= ENOUGH) or n >= MANY \
                or (lost > ENOUGH / 2 and spent > HOPELESS * self._cost * done):
            if spent / done < BETTER * self._cost:
                self.better, self._pause = 1 - self.better, SHORTEST / 2
                self._steps, self._seconds, self._work = int(n), spent, done
            self._wait(spent, lost)

    def _wait(self, spent: float, lost: float) -> None:
        """End a look that took so many seconds, so many of them in vain."""
        self._pause = min(2 * self._pause, LONGEST)
        self._look = self._now + max(self._pause, PRICE * lost, PRICE / 2 * spent)
        self._soonest = self._now + max(SHORTEST, PRICE_OF_CHANGE * lost)
        self._usual, self._trying = self._cost, None


def _try_all() -> tuple[bool, float]:
    """A few matrix products on one thread and on all: see `Choice`."""
    rows, square = np.ones((64, 512), dtype=np.float32), np.ones((512, 512), dtype=np.float32)
    start = time.perf_counter()
    _blas.choose(1)
    for _ in range(PRODUCTS):
        rows @ square
    _blas.choose(None)
    middle = time.perf_counter()
    for _ in range(PRODUCTS):
        rows @ square
        if time.perf_counter() - middle > WORTH * (middle - start) + 1e-3:  # the threads may have to wake up
            return False, time.perf_counter() - start
    return True, time.perf_counter() - start


_choice = Choice(_try_all)
_owner = threading.Lock()  # held by the thread that chooses, while its step runs


def chooses_threads(function: Function) -> Function:
    """Decorate a function or method (model, ids, …) that is a step of a model, for a time that grows with the number of
    ids: where nothing is recorded, it runs with the number of BLAS threads that is the quicker one at the moment."""
    @functools.wraps(function)
    def wrapper(model: Any, ids: Any, *args: Any, **kwargs: Any) -> Any:
        if is_grad_enabled() or not _owner.acquire(blocking=False):
            return function(model, ids, *args, **kwargs)
        try:
            if not _blas.open():
                return function(model, ids, *args, **kwargs)
            work = max(1, np.size(ids))
            way = _choice.way((id(model), function.__qualname__, work.bit_length()))
            if way == ONE:
                _blas.choose(1)
            start = time.perf_counter()
            try:
                result = function(model, ids, *args, **kwargs)
            finally:
                if way == ONE:
                    _blas.choose(None)
            _choice.took(time.perf_counter() - start, work)
            return result
        finally:
            _owner.release()
    return wrapper  # type: ignore[return-value]
