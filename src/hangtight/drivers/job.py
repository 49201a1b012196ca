"""Job objects of Windows: what a process starts belongs to its job, and one call ends them all."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    PROCESS_TERMINATE_AND_SET_QUOTA = 0x0001 | 0x0100
    BASIC_ACCOUNTING = 1
    EXIT_CODE = 124

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.CreateJobObjectW.restype = wintypes.HANDLE
    _kernel.OpenProcess.restype = wintypes.HANDLE

    class _Accounting(ctypes.Structure):
        _fields_ = (
            ("user_time", ctypes.c_int64),
            ("kernel_time", ctypes.c_int64),
            ("period_user_time", ctypes.c_int64),
            ("period_kernel_time", ctypes.c_int64),
            ("page_faults", wintypes.DWORD),
            ("processes", wintypes.DWORD),
            ("active", wintypes.DWORD),
            ("terminated", wintypes.DWORD),
        )

    class Job:
        """A job with one process in it, and from then on with all that the process starts."""

        def __init__(self, pid: int) -> None:
            self._job = wintypes.HANDLE(_kernel.CreateJobObjectW(None, None))
            process = wintypes.HANDLE(_kernel.OpenProcess(PROCESS_TERMINATE_AND_SET_QUOTA, False, pid))
            if process.value is None:
                return
            try:
                if not _kernel.AssignProcessToJobObject(self._job, process):
                    raise ctypes.WinError(ctypes.get_last_error())
            finally:
                _kernel.CloseHandle(process)

        def terminate(self) -> None:
            _kernel.TerminateJobObject(self._job, EXIT_CODE)

        def is_empty(self) -> bool:
            told = _Accounting()
            size = ctypes.sizeof(told)
            _kernel.QueryInformationJobObject(self._job, BASIC_ACCOUNTING, ctypes.byref(told), size, None)
            return bool(told.active == 0)

        def close(self) -> None:
            _kernel.CloseHandle(self._job)
