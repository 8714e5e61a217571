"""Where and of what something was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def field(name: str) -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"


def describe() -> dict[str, Any]:
    """CPU, kernel, load before the run, commit and date."""
    changed = subprocess.run(
        ["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=False
    )
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit + ("+changes" if changed.stdout.strip() else ""),
        "cpu": field("model name"),
        "cpus": len(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in field("flags").split(),
        "governor": governor.read_text().strip() if governor.exists() else "not told by this machine",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def lines(machine: dict[str, Any]) -> list[str]:
    kind = "virtual machine" if machine["virtual"] else "machine"
    return [
        f"{machine['date']}, commit {machine['commit']}",
        f"{machine['cpu']}, {machine['cpus']} CPUs ({kind}), governor: {machine['governor']}, "
        f"Linux {machine['kernel']}, Python {machine['python']}, load before {machine['load_before']}",
    ]
