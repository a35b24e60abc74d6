"""BLAS threads for the size of the work."""

from __future__ import annotations

from threadpoolctl import threadpool_info, threadpool_limits

from lipcert.threads import threads_for


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_short_work_takes_one_thread_and_gives_the_others_back() -> None:
    with threadpool_limits(2, user_api="blas"):
        # one thread still where the environment allows no more
        before = blas_threads()
        with threads_for(1e6), threads_for(1e12):
            assert blas_threads() == [1] * len(before)
        with threads_for(1e12):
            assert blas_threads() == before
        assert blas_threads() == before
