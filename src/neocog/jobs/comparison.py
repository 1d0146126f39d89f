"""`compare`: published accuracy against what networks cost, and which of them nothing beats at both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from neocog.catalog import check_pattern
from neocog.errors import UnknownNameError, UsageError
from neocog.jobs._accuracy import IMAGENET
from neocog.jobs._compared import Candidate, Claims, Row, XAxis, YAxis, find_candidates, is_pattern
from neocog.jobs._device import choose_device
from neocog.jobs.listener import Listener
from neocog.train.environment import processor

if TYPE_CHECKING:
    from neocog.analysis.throughput import Setting

SortKey = Literal["name", "year", "parameters", "macs", "throughput", "accuracy"]

PAGE_SUFFIX = ".html"
PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
PARAMETERS_AT_ONCE = 250_000_000  # of networks whose throughput is measured in turn: 1 GB in fp32


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found.

    Attributes:
        patterns: what was compared, as it was asked for.
        x: what lies across: "macs", "parameters", "throughput" (images a second) or "year".
        y: what lies upwards: "top1" or "top5".
        rows: every network that was asked for, in order; those without an accuracy too.
        basis: the images that the drawn accuracies were measured on.
        all_weights: whether each of a network's trained weights has a row.
        conditions: how `images_per_second` was measured; empty where it was not.
        files: what was written.
    """

    patterns: tuple[str, ...]
    x: XAxis
    y: YAxis
    rows: tuple[Row, ...]
    basis: str = IMAGENET
    all_weights: bool = False
    conditions: str = ""
    files: tuple[Path, ...] = ()

    @property
    def front(self) -> tuple[Row, ...]:
        """The rows that no other beats, the cheapest first."""
        found = [row for row in self.rows if row.on_front]
        return tuple(sorted(found, key=lambda row: (_cost(row, self.x), row.label)))

    @property
    def not_drawn(self) -> tuple[Row, ...]:
        """The rows that have no bubble."""
        return tuple(row for row in self.rows if row.not_drawn)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain types, ready for JSON."""
        return {
            "patterns": list(self.patterns),
            "x": self.x,
            "y": self.y,
            "basis": self.basis,
            "all_weights": self.all_weights,
            "conditions": self.conditions,
            "front": [row.label for row in self.front],
            "rows": [asdict(row) for row in self.rows],
            "files": [str(file) for file in self.files],
        }


def compare(
    patterns: str | Sequence[str],
    *,
    x: XAxis = "macs",
    y: YAxis = "top1",
    sort: SortKey | None = None,
    weights: bool = False,
    tags: Sequence[str] = (),
    all_weights: bool = False,
    size: int | None = None,
    setting: Setting | None = None,
    seconds: float = 2.0,
    out: str | Path | None = None,
    listener: Listener | None = None,
) -> Comparison:
    """Compare the published accuracy of networks with what they cost.

        >>> found = compare(["resnet*", "mobilenet*"], out="compare.html")
        >>> [row.name for row in found.front]

    A network stands with the best accuracy that anybody published for one pass over each image. Its multiply-adds
    are counted at the image size that it was tested at, so that the two belong together. An accuracy of
    several crops an image takes part only where there is no other, and never stands on the front. Over the years stands
    what papers print, and not what their networks reached when they were trained again later.

    Args:
        patterns: names of the catalog, with * and ? as in a shell; paths of model files; `module:callable` for
            networks of the user's own.
        x: what lies across: "macs", "parameters", "throughput" (measured on this machine) or "year".
        y: "top1" or "top5".
        sort: the rows' order: "name", "year", "parameters", "macs" from the least, "throughput" and "accuracy" from the
            most; by default that of `x`.
        weights: only networks with trained weights, and only accuracies of such weights.
        tags: only weights whose tag matches one of these, with * and ? as in a shell; brings `weights` along.
        all_weights: a row for each of a network's trained weights, and one for the best that papers print.
        size: height and width of the images; only accuracies of this size are drawn.
        setting: how throughput is measured; by default the forward pass of batches of 8 in fp32, on a GPU where there
            is one.
        seconds: to spend on the throughput of each network.
        out: a page to write (.html), with a picture beside it (.png), or only a picture (.png, .svg, .pdf).
        listener: hears how far the work has come.

    Raises:
        UnknownNameError: a pattern or a tag that nothing matches; the message names the near ones.
        UsageError: an axis, an order or a file that cannot be meant.
    """
    patterns = (patterns,) if isinstance(patterns, str) else tuple(dict.fromkeys(patterns))
    _check(patterns, x, y, sort, out)
    listener = listener or Listener()
    claims = Claims(y, weights or bool(tags), tuple(tags), all_weights, x == "year", size)
    candidates = find_candidates(patterns, claims)
    rows, conditions = _counted(candidates, listener), ""
    if x == "throughput":
        rows, conditions = _measured(candidates, rows, setting, seconds, listener)
    rows, basis = _on_one_basis(rows)
    rows = _ordered(_with_front(rows, x), x, sort)
    found = Comparison(
        patterns=patterns, x=x, y=y, rows=tuple(rows), basis=basis, all_weights=all_weights, conditions=conditions
    )
    if out is None:
        return found
    from neocog.jobs._comparison_chart import write_comparison

    return replace(found, files=write_comparison(found, Path(out)))


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Return the places of the points that no other dominates, in order of cost.

    A point dominates another if it costs no more and is worth no less, and differs in one of the two: of equal points
    all stand on the front or none.

        >>> pareto_front([1, 2, 2, 3], [70, 75, 74, 75])
        [0, 1]
    """
    order = sorted(range(len(costs)), key=lambda place: (costs[place], -values[place]))
    front: list[int] = []
    best, at = -inf, inf
    for place in order:
        if values[place] > best or (values[place] == best and costs[place] == at):
            best, at = values[place], costs[place]
            front.append(place)
    return front


def _check(patterns: Sequence[str], x: str, y: str, sort: str | None, out: str | Path | None) -> None:
    if not patterns:
        raise UsageError("nothing to compare: give names such as 'resnet*'; `neocog models` lists them all")
    for kind, given, known in (("x axis", x, XAxis), ("y axis", y, YAxis), ("sort key", sort, SortKey)):
        if given is not None and given not in get_args(known):
            raise UnknownNameError(kind, given, get_args(known))
    if sort == "throughput" and x != "throughput":
        raise UsageError("rows can be sorted by throughput where it is the x axis, which measures it")
    suffixes = (PAGE_SUFFIX, *PICTURE_SUFFIXES)
    if out is not None and Path(out).suffix.lower() not in suffixes:
        raise UsageError(f"cannot write {out}: name a page or a picture, which end in {', '.join(suffixes)}")
    for pattern in patterns:
        if is_pattern(pattern):
            check_pattern(pattern)


def _counted(candidates: Sequence[Candidate], listener: Listener) -> list[Row]:
    """Return the candidates' rows with parameters and multiply-adds."""
    from neocog.analysis.cost import count_cost
    from neocog.analysis.trace import trace_forward

    known: dict[Any, dict[str, Any]] = {}
    rows = []
    listener.begin("counting", len(candidates), "networks")
    for done, candidate in enumerate(candidates, start=1):
        if candidate.catalogued is not None:
            parameters, macs = candidate.catalogued
            known[candidate.key] = {"parameters": parameters, "macs": macs}
        elif candidate.key not in known:
            subject = candidate.build(False)
            cost = count_cost(trace_forward(subject.network, subject.image, name=subject.name), "stage")
            known[candidate.key] = {"parameters": cost.parameters, "macs": cost.macs, "uncounted": cost.uncounted}
        rows.append(replace(candidate.row, **known[candidate.key]))
        listener.advance(done)
    listener.end()
    return rows


def _measured(
    candidates: Sequence[Candidate], rows: Sequence[Row], setting: Setting | None, seconds: float, listener: Listener
) -> tuple[list[Row], str]:
    """Return the rows with images a second, and how these were measured.

    Networks of the catalog without an accuracy are left out: they have no place on the chart. The others run in turn,
    in groups of similar cost, so that what else the machine does hits neighbours on the chart alike.
    """
    from neocog.analysis.throughput import Setting, measure_in_turn, prepare

    setting = setting or Setting(batch=8, device=choose_device(None))
    wanted = {
        candidate.key: (candidate, row)
        for candidate, row in zip(candidates, rows, strict=True)
        if row.basis or not row.family
    }
    known: dict[Any, dict[str, Any]] = {}
    listener.begin("measuring", len(wanted), "networks")
    for group in _groups(sorted(wanted.values(), key=lambda pair: pair[1].macs)):
        subjects = [candidate.build(True) for candidate in group]
        prepared = [prepare(each.network, each.image, setting, name=each.name) for each in subjects]
        for candidate, found in zip(group, measure_in_turn(prepared, seconds=seconds), strict=True):
            low, high = found.interval
            known[candidate.key] = {
                "images_per_second": found.images_per_second,
                "images_per_second_interval": (setting.batch / high, setting.batch / low),
            }
        listener.advance(len(known))
    listener.end()
    measured = [replace(row, **known.get(each.key, {})) for each, row in zip(candidates, rows, strict=True)]
    return measured, _conditions(setting)


def _groups(wanted: Sequence[tuple[Candidate, Row]]) -> Iterator[list[Candidate]]:
    """Yield them in order, as many at once as may lie in memory beside each other."""
    group: list[Candidate] = []
    held = 0
    for candidate, row in wanted:
        if group and held + row.parameters > PARAMETERS_AT_ONCE:
            yield group
            group, held = [], 0
        group.append(candidate)
        held += row.parameters
    if group:
        yield group


def _conditions(setting: Setting) -> str:
    """Say how throughput was measured."""
    import torch

    if setting.device == "cpu":
        threads = torch.get_num_threads()
        where = f"{processor()}, {threads} thread{'s' * (threads > 1)}"
    else:
        where = torch.cuda.get_device_name(setting.device)
    step = {"forward": "forward pass", "train": "training step"}[setting.step]
    compiled = ", compiled" * setting.compiled
    return f"{step} of batches of {setting.batch}, {setting.precision}, {setting.layout}{compiled}, on {where}"


def _on_one_basis(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """Return the rows with those left out of the chart whose accuracy is of other images than the most are of.

    ImageNet's go before all others.
    """
    bases = Counter(row.basis for row in rows if not row.not_drawn)
    basis = IMAGENET if IMAGENET in bases or not bases else bases.most_common(1)[0][0]
    reason = f"measured on other images than the {basis}"
    return [replace(row, not_drawn=reason) if not row.not_drawn and row.basis != basis else row for row in rows], basis


def _with_front(rows: Sequence[Row], x: XAxis) -> list[Row]:
    """Return the rows with those on the Pareto front marked; what took several passes an image is not on it."""
    able = [place for place, row in enumerate(rows) if not row.not_drawn and not row.passes]
    costs, values = [_cost(rows[place], x) for place in able], [rows[place].accuracy or 0 for place in able]
    front = {able[place] for place in pareto_front(costs, values)}
    return [replace(row, on_front=place in front) for place, row in enumerate(rows)]


def _ordered(rows: Sequence[Row], x: XAxis, sort: SortKey | None) -> list[Row]:
    """Return the rows that are drawn, then the others, each in order; they come in order of name."""
    keys: Mapping[str, Any] = {
        "name": lambda row: 0,
        "accuracy": lambda row: -(row.accuracy or 0),
        **{axis: lambda row, axis=axis: _cost(row, axis) for axis in get_args(XAxis)},
    }
    return sorted(sorted(rows, key=keys[sort or x]), key=lambda row: bool(row.not_drawn))


def _cost(row: Row, x: XAxis) -> float:
    """Return a number that is less where `row` is better at `x`; infinite where it is not known."""
    value = row.at(x)
    if value is None:
        return inf
    return -value if x == "throughput" else value
