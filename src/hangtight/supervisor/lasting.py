"""The Job object of Windows in which we are ourselves: what we start is in it too, and it ends when we do."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    import os
    from ctypes import wintypes

    from hangtight.drivers.job import Job, _kernel

    EXTENDED_LIMITS = 9
    KILL_ON_JOB_CLOSE = 0x2000
    NUMBERS = 6  # of bytes and operations, which nobody limits

    class _Limits(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION, as far as its names matter here."""

        _fields_ = (
            ("process_time", ctypes.c_int64),
            ("job_time", ctypes.c_int64),
            ("flags", wintypes.DWORD),
            ("least", ctypes.c_size_t),
            ("most", ctypes.c_size_t),
            ("active", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("priority", wintypes.DWORD),
            ("scheduling", wintypes.DWORD),
            ("io", ctypes.c_uint64 * NUMBERS),
            ("memory", ctypes.c_size_t * 4),
        )

    class LastingJob(Job):
        """A job whose processes end when its last handle is closed, which is at the latest when we end."""

        def __init__(self, pid: int) -> None:
            super().__init__(pid)
            limits = _Limits(flags=KILL_ON_JOB_CLOSE)
            size = ctypes.sizeof(limits)
            if not _kernel.SetInformationJobObject(self._job, EXTENDED_LIMITS, ctypes.byref(limits), size):
                raise ctypes.WinError(ctypes.get_last_error())

    _ours: list[LastingJob] = []

    def end_with_us() -> None:
        """From now on what we start does not outlive us. The job is never closed by hand: that would end us, too."""
        if not _ours:
            _ours.append(LastingJob(os.getpid()))
