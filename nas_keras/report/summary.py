"""What a run shows, in figures and in sentences of plain text.

The sentences claim no more than the figures carry: one run is one sample, and
a difference that chance may make is called that. Nothing here is escaped for
HTML.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable
from collections.abc import Sequence

from nas_keras.report.intervals import difference_interval
from nas_keras.report.run_files import RunFiles
from nas_keras.report.run_files import TrialRecord
from nas_keras.report.tables import RetrainedRow
from nas_keras.report.tables import Spread
from nas_keras.report.tables import format_number
from nas_keras.report.tables import format_spread
from nas_keras.report.tables import spread
from nas_keras.report.tables import summarise_retrained

_MAX_REASON = 160  # Characters of an infeasible child's reason.
_PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
_DRAWN = "drawn"  # The origin of what was not selected.
_MATCHED = "matched"  # Of what was made as costly as the best found one.
_NOT_FOUND = ("published", _DRAWN, _MATCHED)


@dataclasses.dataclass(frozen=True)
class TrialSummary:
    """The children of one search, in figures; NaN where there is none.

    Attributes:
        num_trials: Children evaluated.
        num_feasible: Children with a finite reward.
        num_distinct: Different fingerprints; None where none was recorded.
        num_reused: Children of an architecture that was met before, whose
            evaluation was reused.
        best_reward: The highest reward.
        mean_reward: Mean reward of the feasible children.
        first_fifth, last_fifth: Rewards of the feasible children among the
            first and the last fifth, by id.
        elapsed_s: Seconds of training, summed over the children.
    """

    num_trials: int
    num_feasible: int
    num_distinct: int | None
    num_reused: int
    best_reward: float
    mean_reward: float
    first_fifth: Spread
    last_fifth: Spread
    elapsed_s: float


def summarise_trials(trials: Sequence[TrialRecord]) -> TrialSummary:
    """Returns the figures of one search; `trials` are in order of id."""
    rewards = [
        t.reward
        for t in trials
        if t.reward is not None and t.infeasible is None
    ]
    fingerprints = {t.fingerprint for t in trials if t.fingerprint}
    fifth = max(1, len(trials) // 5)
    first, last = (
        spread(t.reward for t in part if t.infeasible is None)
        for part in (trials[:fifth], trials[-fifth:])
    )
    return TrialSummary(
        num_trials=len(trials),
        num_feasible=len(rewards),
        num_distinct=len(fingerprints) or None,
        num_reused=sum(t.same_as is not None for t in trials),
        best_reward=max(rewards, default=math.nan),
        mean_reward=spread(rewards).mean,
        first_fifth=first,
        last_fifth=last,
        elapsed_s=math.fsum(
            t.elapsed_s for t in trials if math.isfinite(t.elapsed_s)
        ),
    )


def count_reasons(reasons: Iterable[str | None]) -> list[tuple[str, int]]:
    """Counts why children were infeasible, the commonest reason first."""
    counts = collections.Counter(
        (reason.strip().splitlines() or ["no reason given"])[0][:_MAX_REASON]
        for reason in reasons
        if reason is not None
    )
    return counts.most_common()


def describe(run: RunFiles) -> list[str]:
    """Returns the summary of a run, one sentence or two an entry."""
    shared, noun = run.shared_weights, run.measure.noun
    controller = summarise_trials(run.trials)
    sentences = _describe_trials("The controller", controller, shared)
    sentences += _describe_derived("the trained controller", run.derived_trials)
    if run.random_trials:
        chance = summarise_trials(run.random_trials)
        sentences += _describe_trials("Random search", chance, shared)
        sentences += _describe_derived(
            "random search", run.random_derived_trials
        )
        sentences += _against_random(controller, chance)
    if shared:
        sentences.append(
            f"A reward by shared weights is an estimate: what the {noun} is"
            " worth, only its training to the end tells."
        )
    return sentences + _describe_retrained(summarise_retrained(run.retrained))


def _describe_trials(
    name: str, summary: TrialSummary, shared: bool
) -> list[str]:
    """Returns the sentences on a search; `shared`: nothing was trained."""
    children = f"evaluated {summary.num_trials:,} children"
    if shared:
        children = (
            f"sampled {summary.num_trials:,} children and scored them with"
            " shared weights"
        )
    again = ""
    if summary.num_reused:
        verb = "was" if summary.num_reused == 1 else "were"
        again = (
            f"; {summary.num_reused:,} {verb} met again and not"
            f" {'scored' if shared else 'trained'} again"
        )
    return [
        f"{name} {children}:"
        f" {summary.num_feasible:,} feasible,"
        f" {summary.num_trials - summary.num_feasible:,} infeasible"
        f"{_distinct(summary)}{again}."
        f" Best reward {format_number(summary.best_reward)}; mean reward"
        f" {format_number(summary.first_fifth.mean)} in the first fifth of"
        f" the children, {format_number(summary.last_fifth.mean)} in the"
        " last."
    ]


def _describe_derived(source: str, trials: Sequence[TrialRecord]) -> list[str]:
    """Returns the sentence on what was sampled after the search, if any."""
    if not trials:
        return []
    summary = summarise_trials(trials)
    infeasible = summary.num_trials - summary.num_feasible
    noun = "architecture was" if len(trials) == 1 else "architectures were"
    return [
        f"From {source} {summary.num_trials:,} {noun} sampled and scored on"
        " all validation data with shared weights:"
        f" {summary.num_feasible:,} feasible, {infeasible:,} infeasible"
        f"{_distinct(summary)}. Best reward"
        f" {format_number(summary.best_reward)}, mean reward"
        f" {format_number(summary.mean_reward)}."
    ]


def _distinct(summary: TrialSummary) -> str:
    if summary.num_distinct is None:
        return ""
    return f", {summary.num_distinct:,} distinct architectures"


def _against_random(
    controller: TrialSummary, chance: TrialSummary
) -> list[str]:
    sentences = []
    if controller.num_trials != chance.num_trials:
        sentences.append(
            f"The budgets differ ({controller.num_trials:,} against"
            f" {chance.num_trials:,} children): compare the curves at equal"
            " numbers of children, not the best rewards."
        )
    best = _versus(controller.best_reward, chance.best_reward)
    if best:
        sentences.append(f"Best child of the controller {best}.")
    ours, theirs = controller.last_fifth, chance.last_fifth
    last = _versus(ours.mean, theirs.mean)
    if last:
        sentences.append(
            f"Mean of the controller's last fifth {last}."
            f" {_significance(ours, theirs, 'children')}"
        )
    if best or last:
        sentences.append(
            "This is one run of each search; other seeds may turn out"
            " otherwise."
        )
    return sentences


def _versus(ours: float, theirs: float) -> str:
    if math.isnan(ours) or math.isnan(theirs):
        return ""
    verb = "beats" if ours > theirs else "does not beat"
    return (
        f"{verb} that of random search: {format_number(ours)} against"
        f" {format_number(theirs)}"
    )


def _describe_retrained(rows: Sequence[RetrainedRow]) -> list[str]:
    measured = [row for row in rows if row.validation.num]
    if not measured:
        return []
    winner, measure = measured[0], measured[0].measure
    sentences = [
        f"After retraining, {winner.cell} ({winner.origin}) has the"
        f" {measure.best} validation {measure.name}: {_figures(winner)}. It was"
        f" chosen by validation {measure.name}, so the test figure is the fair"
        " one."
    ]
    drawn = [row for row in measured if row.origin == _DRAWN]
    found = next((r for r in measured if r.origin not in _NOT_FOUND), None)
    if found is not None:
        sentences += _against_drawn(found, drawn)
    baselines = [
        row
        for origin in (_MATCHED, "published")
        for row in measured
        if row.is_baseline and row.origin == origin
    ]
    baseline = baselines[0] if baselines else None
    if baseline is None:
        return [*sentences, "No baseline was retrained to compare it with."]
    if found is None:
        noun = measure.noun
        return [*sentences, f"No {noun} of the search was retrained."]
    return [*sentences, *_against_baseline(found, baseline)]


def _against_drawn(
    found: RetrainedRow, drawn: Sequence[RetrainedRow]
) -> list[str]:
    """Compares the best found with the mean of those that nobody selected."""
    theirs = spread(row.test.mean for row in drawn)
    if not theirs.num or not found.test.num:
        return []
    measure = found.measure
    noun = f"{measure.noun} was" if theirs.num == 1 else f"{measure.noun}s were"
    difference = found.test.mean - theirs.mean
    word = "higher" if difference > 0 else "lower"
    sign = 1 if measure.is_more_better else -1
    num_as_good = sum(
        sign * (row.test.mean - found.test.mean) >= 0 for row in drawn
    )
    verb = "is" if num_as_good == 1 else "are"
    return [
        f"{theirs.num} {noun} drawn at random, not selected, and retrained"
        f" alike: test {measure.name} {format_spread(theirs, _PLUS_MINUS)},"
        f" mean and deviation over {measure.noun}s. That of the best"
        f" {measure.noun} found is {format_number(abs(difference), 3)} {word};"
        f" {num_as_good} of the {theirs.num} {verb} at least as good."
    ]


def _against_baseline(found: RetrainedRow, baseline: RetrainedRow) -> list[str]:
    """Compares the best found with the usual one, by the test figure."""
    ours, theirs = found.test, baseline.test
    name, measure = baseline.cell, found.measure
    if baseline.origin == _MATCHED:
        name += " of about equal cost"
    if not ours.num or not theirs.num:
        return [f"The {name} for comparison: {_figures(baseline)}."]
    difference = theirs.mean - ours.mean
    word = "lower" if difference > 0 else "higher"
    return [
        f"The best {measure.noun} found, {found.cell}, against the {name}"
        f" ({_figures(baseline)}): its test {measure.name} is"
        f" {format_number(abs(difference), 3)} {word}."
        f" {_significance(ours, theirs, 'seeds')}"
    ]


def _significance(ours: Spread, theirs: Spread, what: str) -> str:
    """Says whether two means differ by more than chance makes them.

    Args:
        ours: Of one side.
        theirs: Of the other.
        what: The values are of, in the plural; taken as independent.
    """
    if min(ours.num, theirs.num) < 2:
        return f"Two {what} of each are needed to judge the difference."
    low, high = difference_interval(ours, theirs)
    if math.isnan(low):
        return f"The {what} of each do not differ: there is no interval."
    verdict = "significant at the 5 % level"
    if low <= 0 <= high:
        verdict = "not significant: chance alone may make it"
    return (
        f"The 95 % confidence interval of the difference is"
        f" {format_number(low, 3)} to {format_number(high, 3)} (Welch's t,"
        f" {ours.num} and {theirs.num} {what}): it is {verdict}."
    )


def _figures(row: RetrainedRow) -> str:
    unit = row.measure.suffix
    costs = {**row.size, "multiply-adds": row.multiply_adds}
    return ", ".join(
        (
            f"validation {format_spread(row.validation, _PLUS_MINUS)}{unit}",
            f"test {format_spread(row.test, _PLUS_MINUS)}{unit}",
            row.seeds,
            *(f"{n:,} {name}" for name, n in costs.items() if n is not None),
        )
    )
