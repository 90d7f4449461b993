"""What changes from minute to minute: clocks, governor, temperature, throttling, power. None where nothing tells.

Linux's cpufreq, thermal zones, cooling devices, powercap (RAPL) and hwmon (INA3221 on Jetsons); ``vcgencmd`` on a
Raspberry Pi. With the standard library alone: the single-file runner asks too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..runtime.cores import read_kernel

SYS = Path("/sys")
POLL_SECONDS = 0.1
# Bits of `vcgencmd get_throttled` (Raspberry Pi documentation): now, and 16 higher since it was switched on.
PI_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


@dataclass(frozen=True)
class SensorReadings:
    """What changes from minute to minute, as far as the system tells: it explains a noisy measurement."""

    governor: str | None = None
    clock_mhz: float | None = None  # of the first core
    temperature_c: float | None = None  # of the hottest zone
    load: float | None = None  # processes that wanted a core, on average over the last minute
    gpu_clock_mhz: float | None = None
    throttling: list[str] | None = None  # what holds the clocks down right now; empty: nothing
    throttled_times: int | None = None  # since the machine was started


def read_sensors() -> SensorReadings:
    """Everything that the system tells right now."""
    cpu0 = SYS / "devices/system/cpu/cpu0/cpufreq"
    clock = read_kernel(cpu0 / "scaling_cur_freq")
    degrees = [int(text) / 1e3 for zone in _each("class/thermal", "thermal_zone*/temp") if _number(text := zone)]
    gpu = [int(text) / 1e6 for text in _each("class/devfreq", "*gpu*/cur_freq") if _number(text)]
    counts = [int(text) for text in _each("devices/system/cpu", "cpu*/thermal_throttle/core_throttle_count")]
    return SensorReadings(
        governor=read_kernel(cpu0 / "scaling_governor") or None,
        clock_mhz=int(clock) / 1e3 if clock.isdigit() else None,
        temperature_c=max(degrees, default=None),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        gpu_clock_mhz=max(gpu, default=None),
        throttling=_throttling(),
        throttled_times=sum(counts) if counts else None,
    )


def _throttling() -> list[str] | None:
    """What holds the clocks down now; None where nothing would tell."""
    line = _vcgencmd("get_throttled")  # throttled=0x50005
    if line.startswith("throttled=0x"):
        bits = int(line.partition("=")[2], 16)
        return [
            f"{name}{since}"
            for bit, name in PI_FLAGS.items()
            for shift, since in ((0, ""), (16, " since start"))
            if bits >> (bit + shift) & 1
        ]
    devices = sorted((SYS / "class/thermal").glob("cooling_device*"))
    if not devices:
        return None
    states = [(read_kernel(device / "type"), read_kernel(device / "cur_state")) for device in devices]
    return [f"{kind} {state}" for kind, state in states if "fan" not in kind.lower() and state not in ("", "0")]


@dataclass
class Energy:
    """What a block of work used: joules of whatever ``sensor`` counts, idle power included; None: not measured."""

    joules: float | None = None
    sensor: str | None = None
    _watts: list[float] = field(default_factory=list, repr=False)


@contextmanager
def energy() -> Iterator[Energy]:
    """Count the energy of a block: from the processor's own counter, or from power read ten times a second."""
    used = Energy()
    begin = time.perf_counter()
    if (before := _counter_joules()) is not None:
        yield used
        after = _counter_joules()
        # The counter wraps round every few minutes of full load: such a block stays "not measured".
        if after is not None and after >= before:
            used.joules, used.sensor = after - before, "powercap (processor package)"
        return
    if _watts() is None:
        yield used
        return
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(used, stop), daemon=True)
    watcher.start()
    try:
        yield used
    finally:
        stop.set()
        watcher.join()
    if used._watts:
        mean = sum(used._watts) / len(used._watts)
        used.joules, used.sensor = mean * (time.perf_counter() - begin), "board power, read ten times a second"


def _watch(used: Energy, stop: threading.Event) -> None:
    while not stop.wait(POLL_SECONDS):
        if (watts := _watts()) is not None:
            used._watts.append(watts)


def _counter_joules() -> float | None:
    """RAPL's counters of all packages, summed. Most systems show them to root alone."""
    counters = _each("class/powercap", "intel-rapl:?/energy_uj")
    return sum(int(text) for text in counters) / 1e6 if counters and all(map(_number, counters)) else None


def _watts() -> float | None:
    """Power right now: of a Jetson's input rail, or of a Raspberry Pi 5's regulators."""
    for chip in sorted((SYS / "class/hwmon").glob("hwmon*")):
        if read_kernel(chip / "name") != "ina3221":
            continue
        for label in sorted(chip.glob("in*_label")):
            if read_kernel(label) in ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0"):
                rail = label.name[2:].partition("_")[0]
                volts, amps = read_kernel(chip / f"in{rail}_input"), read_kernel(chip / f"curr{rail}_input")
                return int(volts) * int(amps) / 1e6 if _number(volts) and _number(amps) else None
    return _pi_watts(_vcgencmd("pmic_read_adc"))


def _pi_watts(lines: str) -> float | None:
    """Volts times amperes, summed over the rails; lines: "VDD_CORE_A current(7)=1.2A", "VDD_CORE_V volt(15)=0.8V"."""
    values: dict[str, float] = {}
    for line in lines.splitlines():
        name, _, rest = line.strip().partition(" ")
        number = rest.partition("=")[2].rstrip("AV")
        try:
            values[name] = float(number)
        except ValueError:
            continue
    rails = [name[:-2] for name in values if name.endswith("_A") and f"{name[:-2]}_V" in values]
    return sum(values[f"{rail}_A"] * values[f"{rail}_V"] for rail in rails) if rails else None


def _each(folder: str, pattern: str) -> list[str]:
    """The contents of the kernel's files of that pattern, those that can be read."""
    return [text for path in sorted((SYS / folder).glob(pattern)) if (text := read_kernel(path))]


def _number(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _vcgencmd(question: str) -> str:
    """What the Raspberry Pi's firmware answers; empty elsewhere."""
    if not (tool := shutil.which("vcgencmd")):
        return ""
    try:
        return subprocess.run([tool, question], capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
