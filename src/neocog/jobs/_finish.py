"""The end of a run: the best weights measured, drawn, and written with all that their use needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from neocog._version import __version__
from neocog.catalog import describe
from neocog.data.table import Split, Splits
from neocog.inference.evaluation import Outputs, evaluate_views
from neocog.inference.metrics import ClassificationReport
from neocog.inference.model_file import LoadedModel, load_model, save_model
from neocog.jobs._build import measuring_batches
from neocog.jobs._epochs import EpochLog
from neocog.jobs._plan import Plan
from neocog.jobs.listener import Listener
from neocog.train.environment import describe_environment
from neocog.train.run import Run
from neocog.train.state import State
from neocog.visualize.calibration import reliability_diagram
from neocog.visualize.confusion import confusion_matrix
from neocog.visualize.curves import training_curves
from neocog.visualize.images import worst_mistakes
from neocog.visualize.report import ReportFacts, accuracy_verdict, write_report

MISTAKES = 12  # photographs on one page
ON_TRAINING_IMAGES = "there are no images to measure on but those that were trained on"


@dataclass(frozen=True)
class TrainResult:
    """What a training run leaves.

    Attributes:
        run: the run's directory; `model`, `report` and `figures` lie in it.
        validation: the shipped weights measured on the images that chose them; None where none could be spared.
        test: the same on the test split, which chose nothing; None where the data has none.
        measured: the figures to quote: the test split's, else validation's, else the training images' own.
        epochs: epochs that were trained; fewer than the recipe's where the run stopped early.
        seconds: time spent in training steps, without validation.
        waiting: share of that time in which the network waited for data.
        stages: directories of the runs that led here, where there were several; each is a run of its own.
    """

    run: Path
    model: Path
    report: Path
    figures: tuple[Path, ...]
    validation: ClassificationReport | None
    test: ClassificationReport | None
    measured: ClassificationReport
    epochs: int
    seconds: float
    waiting: float = 0.0
    stages: tuple[Path, ...] = ()


def finish(run: Run, plan: Plan, splits: Splits, log: EpochLog, state: State, listener: Listener) -> TrainResult:
    """Measure the weights that ship on validation and, this once, on test; draw, write the model file and the report.

    For the main process, which alone writes.
    """
    loaded = load_model(run.model, device=plan.device)
    measured = {
        name: (split, *measure(loaded, plan, split, listener))
        for name, split in (("validation", splits.validation), ("test", splits.test))
        if split is not None
    }
    if not measured:
        listener.notice(ON_TRAINING_IMAGES)
        measured["training"] = (splits.train, *measure(loaded, plan, splits.train, listener))
    shown, (split, report, outputs) = list(measured.items())[-1]
    metrics = {
        f"{name}_{key}": value for name, (_, found, _) in measured.items() for key, value in found.headline().items()
    }
    save_model(run.model, loaded.network, loaded.card.model_copy(update={"metrics": metrics}))
    for name, (_, found, _) in measured.items():
        found.write_json(run.path / f"{name}.json")
        found.write_csv(run.path / f"{name}.csv")
    figures = draw(run, plan, report, outputs, split)
    write_report(run.report, report_facts(run, plan, splits, log, state, loaded, report, shown, figures))
    run.finish(metrics)
    reports = {name: found for name, (_, found, _) in measured.items()}
    return TrainResult(
        run=run.path,
        model=run.model,
        report=run.report,
        figures=figures,
        validation=reports.get("validation"),
        test=reports.get("test"),
        measured=report,
        epochs=state.epoch,
        seconds=log.total_seconds,
        waiting=log.waiting,
    )


def measure(loaded: LoadedModel, plan: Plan, split: Split, listener: Listener) -> tuple[ClassificationReport, Outputs]:
    """Return the report of the shipped weights on `split`, over the views that the recipe asks for."""
    listener.begin(f"measuring on the {split.name} images", len(split))
    found = evaluate_views(
        loaded.network,
        lambda preprocessing: measuring_batches(plan, split, preprocessing),
        plan.preprocessing,
        plan.recipe.views,
        classes=plan.classes,
        multi_label=plan.multi_label,
        precision=plan.recipe.forward_precision,
        progress=lambda done, of: listener.advance(len(split) * done // of),
    )
    listener.end()
    return found


def draw(run: Run, plan: Plan, report: ClassificationReport, outputs: Outputs, split: Split) -> tuple[Path, ...]:
    """Draw what the report shows; return the figures' paths."""
    run.figures.mkdir(exist_ok=True)
    drawn = [training_curves(run.read_metrics(), run.figures / "curves.png")]
    if report.confusion is not None:
        scores, predicted = outputs.logits.float().softmax(1).max(1)
        correct = predicted == outputs.targets
        drawn.append(confusion_matrix(report.confusion, plan.classes, run.figures / "confusion.png"))
        drawn.append(reliability_diagram(scores.numpy(), correct.numpy(), run.figures / "calibration.png"))
        drawn.append(draw_mistakes(split, outputs, scores, predicted, plan.classes, run.figures / "mistakes.png"))
    return tuple(drawn)


def draw_mistakes(
    split: Split, outputs: Outputs, scores: Tensor, predicted: Tensor, classes: Sequence[str], path: Path
) -> Path:
    """Draw the wrong answers that the network was surest of."""
    wrong = (predicted != outputs.targets).nonzero().flatten()
    surest = wrong[scores[wrong].argsort(descending=True)][:MISTAKES].tolist()
    items = [
        (
            split.image(int(outputs.indices[i])),
            classes[int(outputs.targets[i])],
            classes[int(predicted[i])],
            float(scores[i]),
        )
        for i in surest
    ]
    return worst_mistakes(items, path)


def report_facts(
    run: Run,
    plan: Plan,
    splits: Splits,
    log: EpochLog,
    state: State,
    loaded: LoadedModel,
    report: ClassificationReport,
    name: str,
    figures: Sequence[Path],
) -> ReportFacts:
    """Return what the report page says."""
    recipe = plan.recipe
    chosen = splits.validation is not None
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    if report.top1 is None:
        verdict = f"mean average precision {report.score:.3f} on {report.images:,} {name} images"
    else:
        verdict = accuracy_verdict(report.top1, report.images, name, report.interval95)
    if recipe.views != "centre":
        verdict += f", each shown in several views ({recipe.views})"
    entry = describe(recipe.model)
    return ReportFacts(
        title=f"{recipe.model} on {splits.name}",
        verdict=verdict,
        command=run.facts.get("command") or "",
        data=plan.source,
        splits={
            key: dict(zip(split.classes, split.class_counts, strict=True))
            for key, split in parts.items()
            if split is not None
        },
        model=recipe.model,
        parameters=sum(parameter.numel() for parameter in loaded.network.parameters()),
        # The catalog counts the published network; a run at another size or with edits has other figures.
        macs=entry.macs if entry.input[1:] == plan.preprocessing.size and not recipe.edits else None,
        input_shape=(plan.in_chans, *plan.preprocessing.size),
        weights=recipe.weights or "none: trained from scratch",
        recipe=recipe.model_dump(mode="json"),
        epochs=state.epoch,
        best_epoch=log.best_epoch if chosen else None,
        seconds=log.total_seconds,
        waiting=log.waiting,
        environment=describe_environment(),
        shipped=("the weights best on validation" if chosen else "the weights of the last epoch")
        + (", averaged over steps" if recipe.average.active else ""),
        split=name,
        metrics=report.headline(),
        per_class=[asdict(line) for line in report.per_class],
        figures={path.stem: path for path in figures},
        warnings=(*splits.warnings, ON_TRAINING_IMAGES) if name == "training" else splits.warnings,
        run_directory=run.path,
        model_file=run.model,
        version=__version__,
        created=run.facts.get("created", ""),
    )
