"""The mathematics of `scale_simulation.py`: two schemes, their efficiency.

Synchronous: N workers train `batch` children each, wait for the slowest,
gather, update. Asynchronous: K replicas of the controller, m workers each,
push to parameter servers. No flags, no TensorFlow; chance is an argument.

Reference:
  [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 3.2.
"""

import dataclasses
import heapq
import math

import numpy as np

BUDGET = 15_000  # Children; the paper's search for recurrent cells.
_SLOWDOWN = 3.0
_CYCLES = 20  # Of every asynchronous replica.
_MIN_WORKERS = 2000  # Clusters that are smaller are simulated several times.


@dataclasses.dataclass(frozen=True)
class Children:
    """How long a child takes on a worker of ordinary speed.

    Attributes:
        mean_s: Mean seconds, positive.
        cv: Standard deviation over mean, of a lognormal distribution.
        relative: Times over their mean to draw from instead; may be empty.
    """

    mean_s: float
    cv: float = 0.0
    relative: tuple[float, ...] = ()

    def __post_init__(self):
        if not (math.isfinite(self.mean_s) and self.mean_s > 0):
            raise ValueError(
                "The mean seconds of a child must be positive and finite. "
                f"Received: child_s={self.mean_s!r}."
            )
        _check_costs(child_cv=self.cv)

    def draw(
        self, shape: tuple[int, ...], rng: np.random.Generator
    ) -> np.ndarray:
        """Returns the seconds of independent children, float64 `shape`."""
        if self.relative:
            return self.mean_s * rng.choice(self.relative, shape)
        variance = math.log1p(self.cv**2)
        log_mean = math.log(self.mean_s) - variance / 2
        return rng.lognormal(log_mean, math.sqrt(variance), shape)


@dataclasses.dataclass(frozen=True)
class Costs:
    """What is not the training of children, in seconds.

    Attributes:
        update_s: Sampling and one update at 8 rows.
        update_s_per_row: What each further row adds.
        gather_s_per_worker: A gather, for each worker but one.
        push_s: The servers' time for one push; they serve one after another.
        restart_s: From the loss of a worker until children train again.
    """

    update_s: float = 0.0
    update_s_per_row: float = 0.0
    gather_s_per_worker: float = 0.0
    push_s: float = 0.0
    restart_s: float = 0.0

    def __post_init__(self):
        _check_costs(**dataclasses.asdict(self))

    def between_s(self, workers: int, rows: int) -> float:
        """Returns the seconds of gather and update, when no child trains."""
        update_s = self.update_s + self.update_s_per_row * (rows - 8)
        return self.gather_s_per_worker * (workers - 1) + max(update_s, 0.0)


@dataclasses.dataclass(frozen=True)
class Stragglers:
    """What makes workers slower than others.

    Attributes:
        sigma: Of the logarithm of a worker's lasting speed.
        slow_share: Chance that a worker is three times slower for ever.
        hiccup_share: Chance that a child takes three times as long.
        losses_per_hour: Rate at which a worker is lost.
    """

    sigma: float = 0.0
    slow_share: float = 0.0
    hiccup_share: float = 0.0
    losses_per_hour: float = 0.0

    def __post_init__(self):
        _check_costs(**dataclasses.asdict(self))

    def child_times(
        self,
        children: Children,
        shape: tuple[int, ...],
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Returns the seconds of children, float64 `shape`.

        The last axis are the children of one worker, one after the other.
        """
        times = children.draw(shape, rng)
        workers = (*shape[:-1], 1)
        if self.sigma:
            times *= rng.lognormal(0.0, self.sigma, workers)
        if self.slow_share:
            slow = rng.random(workers) < self.slow_share
            times *= np.where(slow, _SLOWDOWN, 1.0)
        if self.hiccup_share:
            late = rng.random(shape) < self.hiccup_share
            times *= np.where(late, _SLOWDOWN, 1.0)
        return times


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a scheme makes of its workers.

    Attributes:
        efficiency: Seconds of children that counted over those of workers. A
            slow worker's seconds count in full: what is lost is waiting.
        children_per_hour: Of all workers together.
        rows: Children in one update of the controller.
        staleness: Mean number of updates by others from the reading of the
            weights until the update made with them.
        staleness_p95: The 95th percentile of that number.
    """

    efficiency: float
    children_per_hour: float
    rows: int
    staleness: float = 0.0
    staleness_p95: float = 0.0

    @property
    def updates_per_hour(self) -> float:
        """Updates of the controller."""
        return self.children_per_hour / self.rows

    @property
    def updates_of_budget(self) -> int:
        """Whole updates that `BUDGET` children are enough for."""
        return BUDGET // self.rows


def uninterrupted_s(seconds: float, rate_per_s: float, restart_s: float):
    """Returns the expected seconds until `seconds` pass without a loss.

    Losses come at `rate_per_s` while work is done; each costs `restart_s`,
    and the work begins anew. May be infinite.
    """
    if rate_per_s == 0:
        return seconds
    with np.errstate(over="ignore"):
        return (1 / rate_per_s + restart_s) * np.expm1(rate_per_s * seconds)


def after_loss_s(
    child_s: np.ndarray,
    lost_at_s: float,
    rate_per_s: float,
    restart_s: float,
    rng: np.random.Generator,
) -> float:
    """Returns the seconds in which a step with a loss trains its children.

    A loss ends the children in progress on all its workers; finished ones are
    kept. What passes until the next child finishes is put at its expectation,
    for there may be millions of losses before; the rest is drawn.

    Args:
        child_s: float64 [N, b], seconds of the children of each worker.
        lost_at_s: When the first loss comes.
        rate_per_s: Losses a second, of all workers together.
        restart_s: Seconds until work goes on.
        rng: Of the further losses.
    """
    elapsed_s = lost_at_s + restart_s
    done = child_s.cumsum(axis=1) <= lost_at_s
    while not done.all():
        ends = np.where(done, 0.0, child_s).cumsum(axis=1)
        nearest_s = ends[~done].min()
        elapsed_s += uninterrupted_s(nearest_s, rate_per_s, restart_s)
        window_s = rng.exponential(1 / rate_per_s)
        rest_s = ends.max() - nearest_s
        if rest_s <= window_s:
            return elapsed_s + rest_s
        elapsed_s += window_s + restart_s
        done |= ends <= nearest_s + window_s
    return elapsed_s


def synchronous(
    children: Children,
    costs: Costs,
    stragglers: Stragglers,
    workers: int,
    batch: int,
    steps: int,
    rng: np.random.Generator,
) -> Outcome:
    """Simulates steps in which all workers wait for the slowest.

    Each step draws the speeds of its workers anew: the figures are means over
    clusters. A loss stops all workers.

    Args:
        children: Their seconds.
        costs: All other seconds.
        stragglers: What makes workers differ.
        workers: N.
        batch: Children of each worker in a step; an update has N * batch rows.
        steps: Of the simulation.
        rng: Of all that is drawn.
    """
    times = stragglers.child_times(children, (steps, workers, batch), rng)
    busy_s = times.sum(axis=2).max(axis=1)  # [steps]
    rate = workers * stragglers.losses_per_hour / 3600
    if rate:
        busy_s = _with_losses_s(times, busy_s, rate, costs.restart_s, rng)
    between_s = uninterrupted_s(
        costs.between_s(workers, workers * batch), rate, costs.restart_s
    )
    makespan_s = busy_s.sum() + steps * between_s
    return Outcome(
        efficiency=times.sum() / (workers * makespan_s),
        children_per_hour=3600 * times.size / makespan_s,
        rows=workers * batch,
    )


def _with_losses_s(
    times: np.ndarray,
    busy_s: np.ndarray,
    rate_per_s: float,
    restart_s: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the seconds of steps of `times` [steps, N, b], losses included.

    A step with a loss is simulated for each, and weighted: losses may be too
    rare to meet one in so few steps.
    """
    chance = -np.expm1(-rate_per_s * busy_s)
    lost_at_s = -np.log1p(-chance * rng.random(busy_s.shape)) / rate_per_s
    with_loss_s = [
        after_loss_s(step, at_s, rate_per_s, restart_s, rng)
        for step, at_s in zip(times, lost_at_s, strict=True)
    ]
    return (1 - chance) * busy_s + chance * np.array(with_loss_s)


def push_order(
    cycle_s: np.ndarray, push_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Replays replicas that push to servers and read the weights at once.

    Args:
        cycle_s: float64 [K, C], seconds from a read to the next push of each
            replica; a fast one begins its row again.
        push_s: Seconds of serving a push. They are served one after another,
            first come, first served.

    Returns:
        int [K * C], the replica of each update, in order, and float64
        [K * C], the seconds at which the update is done.
    """
    num_replicas, num_cycles = cycle_s.shape
    rows = cycle_s.tolist()
    arrivals = [(row[0], k) for k, row in enumerate(rows)]
    heapq.heapify(arrivals)
    counts = [0] * num_replicas
    order, done_s, free_s = [], [], 0.0
    for _ in range(cycle_s.size):
        arrival_s, k = arrivals[0]
        free_s = max(arrival_s, free_s) + push_s
        order.append(k)
        done_s.append(free_s)
        counts[k] += 1
        arrival_s = free_s + rows[k][counts[k] % num_cycles]
        heapq.heapreplace(arrivals, (arrival_s, k))
    return np.array(order), np.array(done_s)


def staleness(order: np.ndarray) -> np.ndarray:
    """Returns how many updates of others each update came after its read.

    Args:
        order: int [P], the replica of each update. It reads right after its
            own; the first update of each replica is left out.
    """
    places = np.argsort(order, kind="stable")
    same = order[places[1:]] == order[places[:-1]]
    return np.diff(places)[same] - 1


def asynchronous(
    children: Children,
    costs: Costs,
    stragglers: Stragglers,
    workers: int,
    replica_size: int,
    rng: np.random.Generator,
) -> Outcome:
    """Simulates replicas of the controller that do not wait for one another.

    A replica waits for its own children, one for each of its `replica_size`
    workers, of which `workers` must be a multiple, if there are that many. A
    loss stops its workers only; the servers are never lost. The arguments
    else are those of `synchronous`.
    """
    size = min(replica_size, workers)
    if workers % size:
        raise ValueError(
            "replica_size must divide workers. Received: "
            f"replica_size={replica_size}, workers={workers}."
        )
    clusters = -(-_MIN_WORKERS // workers)
    shape = (clusters, workers // size, size, _CYCLES)
    times = stragglers.child_times(children, shape, rng)
    rate = size * stragglers.losses_per_hour / 3600
    cycle_s = _cycles_s(times, rate, costs.restart_s, rng)
    cycle_s += costs.between_s(size, size)
    runs = [
        _run_of_replicas(cycle_s[c], times[c].sum(axis=1), costs.push_s)
        for c in range(clusters)
    ]
    useful, pushes = (sum(run[i] for run in runs) / clusters for i in (0, 1))
    stale = np.concatenate([run[2] for run in runs])
    return Outcome(
        efficiency=useful / workers,
        children_per_hour=3600 * size * pushes,
        rows=size,
        staleness=float(stale.mean()),
        staleness_p95=float(np.percentile(stale, 95)),
    )


def _cycles_s(
    times: np.ndarray,
    rate_per_s: float,
    restart_s: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns how long each replica waits for children [..., m, cycles]."""
    cycle_s = times.max(axis=-2)
    if rate_per_s:
        lost_at_s = rng.exponential(1 / rate_per_s, cycle_s.shape)
        for c, k, i in np.argwhere(lost_at_s < cycle_s):
            child_s = times[c, k, :, i : i + 1]
            cycle_s[c, k, i] = after_loss_s(
                child_s, lost_at_s[c, k, i], rate_per_s, restart_s, rng
            )
    return cycle_s


def _run_of_replicas(
    cycle_s: np.ndarray, useful_s: np.ndarray, push_s: float
) -> tuple[float, float, np.ndarray]:
    """Returns useful seconds and pushes, both a second, and stalenesses.

    Each replica is counted from its first push, for all begin at once, to its
    last: what it has begun since is neither useful nor lost.
    """
    num_replicas, num_cycles = cycle_s.shape
    order, done_s = push_order(cycle_s, push_s)
    useful = pushes = 0.0
    for k in range(num_replicas):
        places = np.flatnonzero(order == k)
        if places.size > 1:
            cycles = np.arange(1, places.size) % num_cycles
            counted_s = done_s[places[-1]] - done_s[places[0]]
            useful += useful_s[k, cycles].sum() / counted_s
            pushes += cycles.size / counted_s
    return useful, pushes, staleness(order)


def _check_costs(**costs: float) -> None:
    for name, value in costs.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                f"{name} must be finite and at least 0. Received: "
                f"{name}={value!r}."
            )
