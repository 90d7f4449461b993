"""What the figures of a bundle are judged by: its profile, its limits, and what makes them doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..base.errors import EdgeclipError
from ..measurement.figures import EXPORTED

if TYPE_CHECKING:
    from ..measurement.schema import Figures, Judged, Row
    from ..profiling.schema import Budget, Profile
    from ..reporting import Subject
    from ..reporting.schema import ProfileFacts, Report
    from ..runtime.bundle import Bundle
    from .report import Promises, ReportConfig

OTHER_DEVICE = "{cpu} is not the profile's device: measure on that device, or add --other-device to accept this one"


def judge(
    rows: Sequence[Row],
    figures: Figures,
    host: Figures | None,
    bundle: Bundle,
    profile: Profile,
    *,
    limits: Budget,
    promises: Promises | None,
    config: ReportConfig,
) -> Report:
    """The report of what was measured: ``figures`` of the device, ``host`` of the machine that has the teacher.

    Raises:
        EdgeclipError: no row is of the variant that the verdict is about.
    """
    from ..reporting import build_report

    manifest, same, other_runtime = bundle.manifest, profile.device == figures.device, _other_runtime(profile, figures)
    data, best = figures.dataset or (host.dataset if host else None), figures.recommended or manifest.chosen
    rows = [_finished(row, best, None if other_runtime else profile, manifest.student) for row in rows]
    chosen = next((row for row in rows if row.recommended), None)
    if chosen is None:
        raise EdgeclipError(f"the figures have no row for {best}, which the verdict is about: measure all variants")
    elsewhere = "" if same or config.other_device else OTHER_DEVICE.format(cpu=figures.device.cpu)
    return build_report(
        rows,
        _subject(bundle, profile, figures, host, data),
        limits.model_dump(exclude_none=True),
        verified=figures.verified,
        more=promises(rows, chosen, data.chance if data else 0.0) if promises else (),
        cautions=_cautions(profile, figures, data),
        withheld=other_runtime or _ran_elsewhere(chosen) or elsewhere,
        few_images=config.few_images,
    )


def _subject(bundle: Bundle, profile: Profile, figures: Figures, host: Figures | None, data: Judged | None) -> Subject:
    """What the report's reader is told of bundle, profile, machines and data."""
    from ..reporting import Subject

    manifest, reference = bundle.manifest, figures.reference
    if reference and profile.device == figures.device and not _other_runtime(profile, figures):
        reference = reference.model_copy(update={"profile_ms": profile.reference.p50_ms})
    return Subject(
        name=manifest.name,
        dataset=data,
        profile=_profile_facts(profile),
        device=figures.device,
        software=manifest.made_with,
        host=host.device if host else None,
        student=manifest.student,
        runtime=figures.runtime,
        bundle=figures.bundle,
        rule=figures.rule,
        reference=reference,
        before=figures.before,
        after=figures.after,
    )


def _cautions(profile: Profile, figures: Figures, data: Judged | None) -> list[str]:
    """What a reader must know before any figure."""
    cautions = []
    if profile.device != figures.device:
        cautions.append(f"measured on {figures.device.cpu}, not on the device of profile {profile.name}")
    cautions += [finding.told for finding in figures.wrong]
    if data and data.copies:
        cautions.append(f"{data.copies} files of {data.name} are copies of others of their class: each counts once")
    return cautions + _runtime_cautions(profile, figures)


def _other_runtime(profile: Profile, figures: Figures) -> str:
    """Why the figures are of another engine or provider than the profile speaks for; empty where they are not."""
    if figures.runtime is None:
        return "the figures do not say what engine ran"
    differs = profile.runtime.differs(figures.runtime)
    return f"{differs}, which profile {profile.name} speaks for" if differs else ""


def _ran_elsewhere(row: Row) -> str:
    """Why a row's time is not of the provider that was asked for; empty where it is."""
    if row.providers and row.providers[0] != row.provider:
        return f"{row.provider} could not be used, {row.providers[0]} took its place"
    if row.on_provider == 0:
        return f"every operator fell back from {row.provider}: {', '.join(row.fell_back)}"
    return ""


def _runtime_cautions(profile: Profile, figures: Figures) -> list[str]:
    """Another version, or number of threads, than the profile was measured with."""
    profiled, ran = profile.runtime, figures.runtime
    if ran is None or profiled.differs(ran):
        return []
    cautions = []
    if ran.threads != profiled.threads:
        cautions.append(f"{ran.threads} thread(s) were used; profile {profile.name} speaks for {profiled.threads}")
    if ran.version != profiled.version:
        cautions.append(f"{ran.name} {ran.version} ran; profile {profile.name} was measured with {profiled.version}")
    return cautions


def _finished(row: Row, best: str, profile: Profile | None, spec: dict[str, Any]) -> Row:
    """A row with what the profile predicts for it, and whether it is the one that the verdict is about."""
    if row.where == "host" or not row.stage.startswith(EXPORTED):
        return row.model_copy(update={"recommended": False})
    precision = row.stage.removeprefix(EXPORTED)
    predicted = _predicted(profile, spec, precision) if profile else None
    return row.model_copy(update={"predicted_ms": predicted, "recommended": precision == best})


def _predicted(profile: Profile, spec: dict[str, Any], precision: str) -> float | None:
    """What the profile predicts for the student in this precision, ms; None where it does not speak for it."""
    from ..profiling.costmodel import predict_ms
    from ..towers.spec import StudentSpec

    if not spec or precision not in profile.cost_model:
        return None
    body = {key: value for key, value in spec.items() if key not in ("format", "version")}
    return predict_ms(profile, StudentSpec.model_validate(body).workload, precision)  # type: ignore[arg-type]


def _profile_facts(profile: Profile) -> ProfileFacts:
    from ..reporting.schema import ProfileFacts

    return ProfileFacts(
        name=profile.name,
        provenance=profile.provenance,
        runtime=profile.runtime.told,
        threads=profile.runtime.threads,
        held_out_error={name: model.held_out_error for name, model in profile.cost_model.items()},
    )
