"""What the kernel tells, from files laid out as it lays them out; nothing where it tells nothing."""

import subprocess
import time

import pytest

from edgeclip.device import sensors
from edgeclip.device.sensors import energy, read_sensors


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A /sys of our own; writes files into it."""
    monkeypatch.setattr(sensors, "SYS", tmp_path)
    monkeypatch.setattr(sensors, "_vcgencmd", lambda question: "")

    def write(path, content):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{content}\n")

    return write


def test_a_machine_that_tells_nothing(kernel):
    found = read_sensors()
    assert (found.governor, found.clock_mhz, found.temperature_c) == (None, None, None)
    assert (found.throttling, found.throttled_times, found.gpu_clock_mhz) == (None, None, None)
    with energy() as used:
        pass
    assert (used.joules, used.sensor) == (None, None)


def test_a_laptop(kernel):
    kernel("devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave")
    kernel("devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1800000)
    kernel("class/thermal/thermal_zone0/temp", 41000)
    kernel("class/thermal/thermal_zone1/temp", 67500)
    kernel("class/thermal/cooling_device0/type", "Processor")
    kernel("class/thermal/cooling_device0/cur_state", 3)
    kernel("class/thermal/cooling_device1/type", "Fan")
    kernel("class/thermal/cooling_device1/cur_state", 1)
    kernel("devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", 5)
    kernel("devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", 2)
    found = read_sensors()
    assert (found.governor, found.clock_mhz, found.temperature_c) == ("powersave", 1800.0, 67.5)
    assert (found.throttling, found.throttled_times) == (["Processor 3"], 7)


def test_a_raspberry_pi_tells_by_its_firmware(kernel, monkeypatch):
    told = {"get_throttled": "throttled=0x50005", "pmic_read_adc": "VDD_CORE_A current(7)=2A\nVDD_CORE_V volt(15)=0.8V"}
    monkeypatch.setattr(sensors, "_vcgencmd", told.get)
    expected = ["under-voltage", "under-voltage since start", "throttled", "throttled since start"]
    assert read_sensors().throttling == expected
    monkeypatch.setattr(sensors, "POLL_SECONDS", 0.01)
    with energy() as used:
        time.sleep(0.2)
    assert used.joules == pytest.approx(1.6 * 0.2, rel=0.5)
    assert "board power" in used.sensor


def test_a_jetson_tells_by_its_power_monitor(kernel, monkeypatch):
    kernel("class/hwmon/hwmon0/name", "tmp451")
    kernel("class/hwmon/hwmon1/name", "ina3221")
    kernel("class/hwmon/hwmon1/in1_label", "VDD_IN")
    kernel("class/hwmon/hwmon1/in1_input", 5000)  # mV
    kernel("class/hwmon/hwmon1/curr1_input", 2000)  # mA
    kernel("class/devfreq/17000000.gpu/cur_freq", 918000000)
    monkeypatch.setattr(sensors, "POLL_SECONDS", 0.01)
    with energy() as used:
        time.sleep(0.2)
    assert used.joules == pytest.approx(10.0 * 0.2, rel=0.5)
    assert read_sensors().gpu_clock_mhz == 918.0


def test_a_processor_that_counts(kernel):
    kernel("class/powercap/intel-rapl:0/energy_uj", 1_000_000)
    with energy() as used:
        kernel("class/powercap/intel-rapl:0/energy_uj", 3_500_000)
    assert (used.joules, used.sensor) == (2.5, "powercap (processor package)")
    with energy() as used:
        kernel("class/powercap/intel-rapl:0/energy_uj", 10)
    assert used.joules is None, "a counter that wrapped round was taken for a measurement"


def test_a_tool_that_hangs_tells_nothing(monkeypatch):
    monkeypatch.setattr(sensors.shutil, "which", lambda name: f"/usr/bin/{name}")

    def hang(*words, **settings):
        raise subprocess.TimeoutExpired("vcgencmd", 5)

    monkeypatch.setattr(sensors.subprocess, "run", hang)
    assert sensors._vcgencmd("get_throttled") == ""
