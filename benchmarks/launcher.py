"""Runs a command and writes down what it used: `python launcher.py <file> <command>`.

A process of its own, since Linux counts the memory that a parent had when it forked towards the
peak of the child, and a benchmark itself holds a data set.
"""

import json
import os
import subprocess
import sys
import time

if __name__ == "__main__":
    path, *command = sys.argv[1:]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    usage = {
        "wall_seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,  # Linux counts in KiB
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(usage, file)
    sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
