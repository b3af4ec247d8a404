"""Settings of the process that make a run quick and repeatable. Call before NumPy and torch are imported."""

import ctypes
import os

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def settle() -> None:
    """One thread per library, unless the environment says otherwise, and an allocator that keeps its memory.

    The matrices of a small network are too small to share between threads, and a fixed number makes sums
    repeatable. By default glibc returns freed arrays of 100 kB to the kernel at once and faults them in again a
    microsecond later, which costs a quarter of a run.
    """
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    except (OSError, AttributeError, TypeError):
        pass  # no glibc: the run is only slower
