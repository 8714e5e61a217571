"""Sleeps on a bare futex in a shared file, woken by the example `wake_floor`: wake_sleeper.py FILE

The floor under every reader in Python: no log, no batch, only the kernel and the interpreter coming back from a system
call. Obeys `measure.consumer`'s commands.
"""

import ctypes
import mmap
import platform
import sys

from measure.consumer import Samples

FUTEX_WAIT = 0
SYS_FUTEX = {"x86_64": 202, "aarch64": 98}[platform.machine()]


class Timespec(ctypes.Structure):
    _fields_ = [("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long)]


def main() -> None:
    with open(sys.argv[1], "r+b") as file:
        shared = mmap.mmap(file.fileno(), 4096)
    word = ctypes.c_uint32.from_buffer(shared, 0)
    stamp = ctypes.c_uint64.from_buffer(shared, 8)
    # Releases the interpreter's lock while it sleeps, as the reader does.
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    place, limit = ctypes.byref(word), ctypes.byref(Timespec(0, 200_000_000))
    samples = Samples()

    def take() -> None:
        value = word.value
        if syscall(SYS_FUTEX, place, FUTEX_WAIT, value, limit, None, 0) == 0 and word.value != value:
            samples.add_one(stamp.value)

    samples.run(take)


if __name__ == "__main__":
    main()
