"""What the machine says of itself: nothing here is measured, and nothing is guessed."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from .schema import Device, Runtime

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "asimdhp")
CPUINFO = Path("/proc/cpuinfo")


def describe_device() -> Device:
    """Machine, system, processor, cores and memory, and the instruction sets that decide the int8 recipe."""
    return Device(
        machine=platform.machine() or "unknown",
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        cpu=_cpu_name(),
        cores=usable_cores(),
        memory_gb=round(_memory_bytes() / 2**30, 1),
        features=_features(),
    )


def describe_runtime(threads: int) -> Runtime:
    """onnxruntime on the CPU, as installed here."""
    import onnxruntime

    return Runtime(version=onnxruntime.__version__, threads=threads)


def usable_cores() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def vital_signs() -> dict[str, float | str]:
    """Governor, clock (MHz) and temperature (C) where Linux tells; an empty dict elsewhere."""
    found: dict[str, float | str] = {}
    cpu = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    if governor := _read(cpu / "scaling_governor"):
        found["governor"] = governor
    if clock := _read(cpu / "scaling_cur_freq"):
        found["clock_mhz"] = int(clock) / 1000
    zones = [_read(zone / "temp") for zone in Path("/sys/class/thermal").glob("thermal_zone*")]
    if degrees := [int(value) / 1000 for value in zones if value and value.lstrip("-").isdigit()]:
        found["temperature_c"] = max(degrees)
    return found


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}".strip() or "unknown"


def _cpu_name() -> str:
    for key in ("model name", "Model", "Hardware"):
        if name := _cpuinfo(key):
            return name
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine() or "unknown"


def _features() -> list[str]:
    flags = set((_cpuinfo("flags") or _cpuinfo("Features") or "").split())
    if not flags and platform.machine() in ("arm64", "aarch64"):
        flags = {"asimd"}  # part of every 64-bit Arm
    return [name for name in FEATURES if name in flags]


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return int(_sysctl("hw.memsize") or 2**30)


def _cpuinfo(key: str) -> str:
    for line in _read(CPUINFO).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _sysctl(name: str) -> str:
    if platform.system() != "Darwin":
        return ""
    told = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False)
    return told.stdout.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
