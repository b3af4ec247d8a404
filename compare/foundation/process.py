"""A setting of the process that makes a run quick."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Have the allocator keep what it is given back.

    By default glibc returns freed arrays of 100 kB to the kernel at once and faults them in again a microsecond
    later, which costs a quarter of a run.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    except (OSError, AttributeError, TypeError):
        pass  # no glibc: the run is only slower
