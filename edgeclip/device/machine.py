"""What a machine says of itself, with the standard library alone: the single-file runner asks too."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..runtime.cores import read_kernel, usable_cores

CPUINFO = Path("/proc/cpuinfo")
# The instruction sets that decide speed or the int8 recipe, as Linux names them ...
FEATURES = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme", "sme2"),
)
# ... and as macOS does.
DARWIN = {
    "hw.optional.avx1_0": "avx",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.fma": "fma",
    "hw.optional.f16c": "f16c",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512vnni": "avx512_vnni",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.arm.FEAT_SME2": "sme2",
}
# "CPU part" of Arm's own cores (implementer 0x41): 64-bit Arm kernels print numbers, not names.
ARM_CORES = {
    0xD03: "Cortex-A53",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE",
    0xD44: "Cortex-X1",
    0xD47: "Cortex-A710",
    0xD49: "Neoverse-N2",
    0xD4F: "Neoverse-V2",
}


@dataclass(frozen=True)
class Machine:
    """As :class:`~edgeclip.runtime.target.Device`, which is checked and written into documents."""

    machine: str
    system: str
    cpu: str
    cores: int
    memory_gb: float
    features: list[str]
    gpu: str | None


def this_machine() -> Machine:
    """The machine this runs on; always the same answer."""
    return Machine(
        machine=platform.machine() or "unknown",
        system=_system_name(),
        cpu=_cpu_name(),
        cores=usable_cores(),
        memory_gb=round(_memory_bytes() / 1e9, 1),
        features=_features(),
        gpu=_gpu_name(),
    )


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}".strip() or "unknown"


def _cpu_name() -> str:
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string") or "unknown"
    info = _cpuinfo()
    if name := info.get("model name"):
        return name
    part = info.get("CPU part", "")
    core = ARM_CORES.get(int(part, 16)) if part and info.get("CPU implementer") == "0x41" else None
    board = read_kernel(Path("/proc/device-tree/model"))
    return ", ".join(filter(None, (board, core))) or platform.processor() or "unknown"


def _features() -> list[str]:
    if sys.platform == "darwin":
        return [name for key, name in DARWIN.items() if _sysctl(key) == "1"]
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return [name for name in FEATURES if name in flags]


def _memory_bytes() -> int:
    if sys.platform == "win32":
        import ctypes

        kilobytes = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return int(kilobytes.value) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _gpu_name() -> str | None:
    for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in read_kernel(card).splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model":
                return value.strip()
    return None


def _cpuinfo() -> dict[str, str]:
    """The first core's entry of /proc/cpuinfo; empty where there is none."""
    first = read_kernel(CPUINFO).split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _sysctl(key: str) -> str:
    try:
        return subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
