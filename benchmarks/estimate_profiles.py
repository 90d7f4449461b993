"""Make the profiles of devices that nobody here has measured, from published figures: marked as estimated everywhere.

    python benchmarks/estimate_profiles.py

A price per unit of work is set for each device and precision: for arithmetic from published timings of whole networks,
for activations and weights from the memory's bandwidth, for a call by what launching a kernel takes. On the device,
``edgeclip profile NAME --out NAME.toml`` replaces all of it by measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeclip.profiling.schema import CostModel, Kernel, Measure, Profile, Reference
from edgeclip.runtime.target import Device, Precision, Runtime
from edgeclip.towers.space import workload_of
from edgeclip.towers.timmtowers import FAMILIES

FOLDER = Path(__file__).parents[1] / "profiles"
REFERENCE = {"image_size": 64, "patch_size": 8, "width": 192, "layers": 4, "mlp_ratio": 4.0, "head_width": 64}
ERROR = 0.5  # held out, of a model that was never held against the device: it stands for a factor of two
WEIGHTED: tuple[Kernel, ...] = ("conv", "pointwise", "linear")
LIGHT: tuple[Kernel, ...] = ("softmax", "norm", "gelu", "activation", "elementwise", "movement", "reduce")
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
DEPTHWISE = 3.0  # times the price of dense arithmetic: each weight meets few activations


@dataclass(frozen=True)
class Estimate:
    """Figures of one device; ``ms_per_gflop`` by precision."""

    name: str
    device: Device
    runtime: Runtime
    ms_per_gflop: dict[Precision, float]
    gb_per_s: float  # of memory
    call_us: float
    recipes: dict[Precision, str]
    sources: list[str]
    notes: list[str]


NOT_MEASURED = (
    "Nobody measured this device. Expect errors of up to a factor of two; the held-out error of 50 % stands for that, "
    "and widens the margin of every selection."
)
PI = Estimate(
    name="raspberry-pi-5",
    device=Device(
        machine="aarch64",
        system="Raspberry Pi OS",
        cpu="Broadcom BCM2712, 4 x Cortex-A76, 2.4 GHz",
        cores=4,
        memory_gb=8.0,
        features=["asimd", "asimddp"],
    ),
    runtime=Runtime(version="1.32.0", threads=4),
    ms_per_gflop={"fp32": 12.0, "int8": 4.3},
    gb_per_s=17.1,
    call_us=15.0,
    recipes={"fp32": "fp32", "int8": "arm: s8s8, symmetric"},
    sources=[
        "fp32 arithmetic, 12 ms a GFLOP: onnxruntime on a Raspberry Pi 5 runs RT-DETRv2-R50m at 0.8 and RT-DETR-R50 at "
        "0.6 images a second (https://www.visionanalysis.org/articles/onnx-fp32-vs-pytorch-fp32-rpi5); they take 100 "
        "and 136 GFLOP (RT-DETR, arXiv:2304.08069): 12.5 and 12.3 ms a GFLOP",
        "int8 arithmetic, 2.8 times faster: on the same Cortex-A76 cores of a Pixel 4, MobileNet v1 takes 14.0 ms in "
        "fp32 and 5.0 ms in int8 (tensorflow/lite/g3doc/performance/measurement.md)",
        "memory, 17.1 GB/s: 32 bits of LPDDR4X-4267 (Raspberry Pi 5 product brief)",
    ],
    notes=[NOT_MEASURED, "The board slows down when hot; these figures are of a cooled one."],
)
PHONE = Estimate(
    name="pixel-4-cpu",
    device=Device(
        machine="aarch64",
        system="Android 10",
        cpu="Snapdragon 855, 4 x Kryo 485 Gold (Cortex-A76), 2.84 and 2.42 GHz",
        cores=4,
        memory_gb=6.0,
        features=["asimd", "asimddp"],
    ),
    runtime=Runtime(version="1.32.0", threads=4),
    ms_per_gflop={"fp32": 11.7, "int8": 4.2},
    gb_per_s=34.1,
    call_us=12.0,
    recipes={"fp32": "fp32", "int8": "arm: s8s8, symmetric"},
    sources=[
        "fp32 arithmetic, 11.7 ms a GFLOP: on four big cores of a Pixel 4, TensorFlow Lite takes 272.6 ms for "
        "Inception-ResNet v2 and 324.1 ms for Inception v4 (tensorflow/lite/g3doc/performance/measurement.md); they "
        "take 26.4 and 24.6 GFLOP (13.2 and 12.3 billion multiply-adds): 10.3 and 13.2 ms a GFLOP",
        "int8 arithmetic, 2.8 times faster: MobileNet v1 takes 14.0 ms in fp32, 5.0 ms in int8 (the same table)",
        "memory, 34.1 GB/s: 4 x 16 bits of LPDDR4X at 2133 MHz (Snapdragon 855 product brief)",
    ],
    notes=[NOT_MEASURED, "The published times are of TensorFlow Lite; onnxruntime's own may differ."],
)
NANO = Estimate(
    name="jetson-orin-nano",
    device=Device(
        machine="aarch64",
        system="JetPack 6",
        cpu="6 x Cortex-A78AE, 1.5 GHz",
        cores=6,
        memory_gb=8.0,
        features=["asimd", "asimdhp", "asimddp"],
        gpu="NVIDIA Jetson Orin Nano, 1024-core Ampere, 32 Tensor cores",
    ),
    runtime=Runtime(name="tensorrt", version="10.3", provider="CUDA", threads=1),
    ms_per_gflop={"fp16": 0.243, "int8": 0.177},
    gb_per_s=68.0,
    call_us=8.0,
    recipes={"fp16": "fp16", "int8": "tensorrt: s8s8, symmetric"},
    sources=[
        "arithmetic, 0.243 ms a GFLOP in fp16 and 0.177 in int8, the difference of YOLOv8s and YOLOv8m: 11.4 and 23.6 "
        "ms in fp16, 8.2 and 17.1 ms in int8, with TensorRT on an Orin Nano "
        "(https://github.com/the0807/YOLOv8-ONNX-TensorRT); they take 28.6 and 78.9 GFLOP "
        "(https://docs.ultralytics.com/models/yolov8)",
        "memory, 68 GB/s: Jetson Orin Nano series data sheet",
    ],
    notes=[NOT_MEASURED, "A launch is taken as 8 us a kernel; TensorRT fuses some, which makes small towers faster."],
)
AGX = Estimate(
    name="jetson-agx-orin",
    device=Device(
        machine="aarch64",
        system="JetPack 6",
        cpu="12 x Cortex-A78AE, 2.2 GHz",
        cores=12,
        memory_gb=64.0,
        features=["asimd", "asimdhp", "asimddp"],
        gpu="NVIDIA Jetson AGX Orin, 2048-core Ampere, 64 Tensor cores",
    ),
    runtime=Runtime(name="tensorrt", version="10.3", provider="CUDA", threads=1),
    ms_per_gflop={"fp16": 0.082, "int8": 0.060},
    gb_per_s=204.8,
    call_us=6.0,
    recipes={"fp16": "fp16", "int8": "tensorrt: s8s8, symmetric"},
    sources=[
        "fp16 arithmetic, 0.082 ms a GFLOP: OWL-ViT's ViT-B/32 and ViT-B/16 at 768 px run at 95 and 25 images a second "
        "with TensorRT on an AGX Orin (https://github.com/NVIDIA-AI-IOT/nanoowl); such ViTs take 113 and 590 GFLOP, by "
        "our count: 0.093 and 0.068 ms a GFLOP",
        "int8 arithmetic: the ratio to fp16 that YOLOv8 shows on the Orin Nano (profile jetson-orin-nano)",
        "memory, 204.8 GB/s: Jetson AGX Orin series data sheet",
    ],
    notes=[NOT_MEASURED],
)


def main() -> None:
    """Write them all."""
    for estimate in (PI, PHONE, NANO, AGX):
        path = FOLDER / f"{estimate.name}.toml"
        profile_of(estimate).save(path)
        print(f"wrote {path}")


def profile_of(known: Estimate) -> Profile:
    """The profile that those figures give; its reference is the probe's, at what the figures say it takes."""
    milliseconds = {precision: prices(known, precision) for precision in known.ms_per_gflop}
    first = next(iter(milliseconds.values()))
    load = workload_of(REFERENCE)
    reference = sum(
        price * getattr(load.kernels[kernel], measure)
        for kernel, row in first.items()
        for measure, price in row.items()
        if kernel in load.kernels
    )
    models = {}
    for precision, table in milliseconds.items():
        relative = {k: {m: rounded(price / reference) for m, price in row.items()} for k, row in table.items()}
        models[precision] = CostModel(
            coefficients=relative,
            families=["vit", *FAMILIES],
            recipe=known.recipes[precision],
            held_out_error=ERROR,
            held_out_p90=2 * ERROR,
        )
    return Profile(
        name=known.name,
        provenance="estimated",
        sources=known.sources,
        notes=known.notes,
        device=known.device,
        runtime=known.runtime,
        reference=Reference(name="vit64-p8-w192-d4-m4-h64", p50_ms=rounded(reference), drift=0.0),
        cost_model=models,
    )


def prices(known: Estimate, precision: Precision) -> dict[Kernel, dict[Measure, float]]:
    """ms per unit of work. Between kernels activations are floats, whatever the weights are."""
    moved = max(BYTES[precision], 2 if "fp16" in known.ms_per_gflop else 4) * 1e6 / (known.gb_per_s * 1e9) * 1e3
    weight = BYTES[precision] * 1e6 / (known.gb_per_s * 1e9) * 1e3
    flop, call = known.ms_per_gflop[precision], known.call_us / 1e3
    whole = known.ms_per_gflop.get("fp32") or known.ms_per_gflop["fp16"]  # activations by activations stay float
    table: dict[Kernel, dict[Measure, float]] = {
        kernel: {"calls": call, "gflops": flop, "melems": moved, "params_m": weight} for kernel in WEIGHTED
    }
    for kernel in ("depthwise", "grouped"):
        table[kernel] = {"calls": call, "gflops": DEPTHWISE * flop, "melems": moved, "params_m": weight}
    table["product"] = {"calls": call, "gflops": whole, "melems": moved}
    return table | {kernel: {"calls": call, "melems": moved} for kernel in LIGHT}


def rounded(value: float) -> float:
    """Three digits: nobody knows more."""
    return float(f"{value:.3g}")


if __name__ == "__main__":
    main()
