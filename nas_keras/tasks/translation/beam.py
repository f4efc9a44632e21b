"""Greedy and beam search of a translation model: loops that are compiled.

Keras only. All sentences of a batch are searched at once, and each ends at its
own limit, so none depends on the others. Axes: B sentences, S source steps, K
hypotheses, L the most target steps, V vocabulary.
"""

from typing import Any
from typing import NamedTuple

import keras

from nas_keras.data.subwords import BEGIN
from nas_keras.data.subwords import END
from nas_keras.data.subwords import PADDING
from nas_keras.data.subwords import UNKNOWN
from nas_keras.tasks.translation.model import DecoderState
from nas_keras.tasks.translation.model import Memory
from nas_keras.tasks.translation.model import TranslationModel

# What a translation never has: a text made of it would say nothing.
_FORBIDDEN = (PADDING, UNKNOWN, BEGIN)
_TINY = 1e-37  # Attention of less counts as this much: its logarithm is finite.

ops = keras.ops


class Hypotheses(NamedTuple):
    """Translations, the best of each sentence first.

    Attributes:
        ids: int32 [B, K, L]; after the end of a sentence, padding.
        log_probs: float32 [B, K], nats.
        scores: float32 [B, K], what they are ordered by; -inf if there is no
            such hypothesis.
    """

    ids: Any
    log_probs: Any
    scores: Any


def length_penalty(length: Any, alpha: float) -> Any:
    """Returns lp of Wu et al. (2016), equation 14, of lengths with the end."""
    return ((5.0 + ops.cast(length, "float32")) / 6.0) ** alpha


def coverage_penalty(attended: Any, is_real: Any, beta: float) -> Any:
    """Returns cp of Wu et al. (2016), equation 14.

    Args:
        attended: float32 [..., S], the sum of a hypothesis's attention.
        is_real: Boolean [..., S].
        beta: 0 for none.
    """
    covered = ops.log(ops.clip(attended, _TINY, 1.0))
    return beta * ops.sum(ops.where(is_real, covered, 0.0), axis=-1)


def _log_probs(logits: Any) -> Any:
    """Returns float32 [N, V] of the next token, of logits [N, 1, V]."""
    size = logits.shape[-1]
    barred = sum(ops.one_hot(token, size) for token in _FORBIDDEN)
    return ops.log_softmax(logits[:, 0]) - 1e9 * barred


def greedy_search(model: TranslationModel, source: Any, limits: Any) -> Any:
    """Returns `Hypotheses` with K = 1: the likeliest token at each step.

    Args:
        model: The model.
        source: int32 [B, S].
        limits: int32 [B], the most tokens of each translation, with its end.
    """
    limits = ops.cast(limits, "int32")
    memory, state = model.encode(source)
    batch_size = ops.shape(source)[0]
    longest = ops.max(limits)
    first = (
        ops.convert_to_tensor(0, "int32"),
        ops.full((batch_size,), BEGIN, "int32"),
        ops.zeros((batch_size, longest), "int32"),
        ops.zeros((batch_size,), "float32"),
        ops.zeros((batch_size,), "bool"),
        _flat(state),
    )

    def goes_on(
        time: Any, tokens: Any, ids: Any, total: Any, done: Any, _: Any
    ) -> Any:
        return ops.logical_and(time < longest, ops.logical_not(ops.all(done)))

    def step(
        time: Any, tokens: Any, ids: Any, total: Any, done: Any, flat: Any
    ) -> tuple[Any, ...]:
        found = model.decode(tokens[:, None], memory, _packed(flat, state))
        log_probs = _log_probs(found.logits)
        tokens = ops.cast(ops.argmax(log_probs, axis=-1), "int32")
        tokens = ops.where(done, PADDING, tokens)
        gained = ops.where(done, 0.0, ops.max(log_probs, axis=-1))
        is_now = ops.equal(ops.arange(longest), time)[None]
        ids = ops.where(is_now, tokens[:, None], ids)
        done = ops.logical_or(done, ops.equal(tokens, END))
        done = ops.logical_or(done, time + 1 >= limits)
        return time + 1, tokens, ids, total + gained, done, _flat(found.state)

    _, _, ids, total, _, _ = ops.while_loop(goes_on, step, first)
    return Hypotheses(ids[:, None], total[:, None], total[:, None])


class _Beams(NamedTuple):
    """Hypotheses in the making.

    Attributes:
        alive_ids: int32 [B, K, L].
        alive: float32 [B, K], log-probabilities; -inf for none.
        attended: float32 [B, K, S], sum of the attention of those.
        ids, log_probs, scores: Of those that are finished, as `Hypotheses`.
        done: Boolean [B].
    """

    alive_ids: Any
    alive: Any
    attended: Any
    ids: Any
    log_probs: Any
    scores: Any
    done: Any


class _Penalties(NamedTuple):
    """What a score is made of beside the log-probability.

    Attributes:
        alpha: Of the length.
        beta: Of the coverage.
        is_real: Boolean [B, 1, S], where a source has a token.
    """

    alpha: float
    beta: float
    is_real: Any

    def scores(self, log_probs: Any, length: Any, attended: Any) -> Any:
        """Returns scores of hypotheses [B, N] of a length, with the end."""
        scores = log_probs / length_penalty(length, self.alpha)
        scores += coverage_penalty(attended, self.is_real, self.beta)
        return scores


def beam_search(
    model: TranslationModel,
    source: Any,
    limits: Any,
    beam: int,
    alpha: float = 1.0,
    beta: float = 0.0,
) -> Hypotheses:
    """Returns the best translations that a beam of hypotheses finds.

    At each step the 2K likeliest extensions are taken. Those that end join
    the finished, of which the K of the highest score are kept; of the others
    the K likeliest are extended next. A sentence is done at its limit, or
    once no extension can beat the worst of K finished ones. One that never
    ends within its limit yields its best beginning.

    Args:
        model: The model.
        source: int32 [B, S].
        limits: int32 [B], the most tokens of each translation, with its end.
        beam: K.
        alpha: Of the length penalty.
        beta: Of the coverage penalty.

    Reference:
        [Wu et al., 2016](https://arxiv.org/abs/1609.08144), section 7.
    """
    limits = ops.cast(limits, "int32")
    memory, state = model.encode(source)
    memory = Memory(*(ops.repeat(part, beam, axis=0) for part in memory))
    flat = [ops.repeat(tensor, beam, axis=0) for tensor in _flat(state)]
    batch_size, longest = ops.shape(source)[0], ops.max(limits)
    is_real = ops.not_equal(source, PADDING)[:, None]  # [B, 1, S].
    penalties = _Penalties(alpha, beta, is_real)

    def goes_on(time: Any, tokens: Any, beams: Any, flat: Any) -> Any:
        return ops.logical_and(
            time < longest, ops.logical_not(ops.all(_Beams(*beams).done))
        )

    def step(time: Any, tokens: Any, beams: Any, flat: Any) -> Any:
        beams = _Beams(*beams)
        found = model.decode(
            ops.reshape(tokens, (-1, 1)), memory, _packed(flat, state)
        )
        new, tokens, origins = _extended(
            beams, found.logits, found.weights, time, limits, penalties
        )
        flat = [_of_beams(tensor, origins) for tensor in _flat(found.state)]
        return time + 1, tokens, tuple(_unless_done(beams, new)), flat

    first = (
        ops.convert_to_tensor(0, "int32"),
        ops.full((batch_size, beam), BEGIN, "int32"),
        tuple(_first_beams(batch_size, beam, longest, ops.shape(source)[1])),
        flat,
    )
    time, _, beams, _ = ops.while_loop(goes_on, step, first)
    beams = _Beams(*beams)
    length = ops.minimum(time, limits)[:, None]
    scores = penalties.scores(beams.alive, length, beams.attended)
    return _or_unfinished(beams, scores)


def _extended(
    beams: _Beams,
    logits: Any,
    weights: Any,
    time: Any,
    limits: Any,
    penalties: _Penalties,
) -> tuple[_Beams, Any, Any]:
    """Returns the beams after a step.

    Args:
        beams: Before it.
        logits: float32 [B * K, 1, V], of the next token of each hypothesis.
        weights: float32 [B * K, 1, S], of its attention.
        time: int32 [], from 0.
        limits: int32 [B].
        penalties: Of the scores.

    Returns:
        Them, the last tokens int32 [B, K] of those that go on, and the
        hypotheses int32 [B, K] that they extend.
    """
    log_probs = _log_probs(logits)
    beam, size = beams.alive.shape[-1], log_probs.shape[-1]
    log_probs = ops.reshape(log_probs, (-1, beam, size))
    total = beams.alive[..., None] + log_probs
    # Barred tokens have less than any other, but would be hypotheses.
    total = ops.where(log_probs < -1e8, -float("inf"), total)
    best, places = ops.top_k(ops.reshape(total, (-1, beam * size)), 2 * beam)
    origins, tokens = places // size, places % size  # [B, 2K].
    attended = beams.attended + ops.reshape(weights, ops.shape(beams.attended))
    attended = _rows(attended, origins)
    longest = ops.shape(beams.alive_ids)[-1]
    is_now = ops.equal(ops.arange(longest), time)[None, None]
    ids = ops.where(is_now, tokens[..., None], _rows(beams.alive_ids, origins))
    scores = penalties.scores(best, time + 1, attended)
    ends = ops.equal(tokens, END)
    new = _with_finished(
        beams, ids, best, ops.where(ends, scores, -float("inf"))
    )
    alive, kept = ops.top_k(ops.where(ends, -float("inf"), best), beam)
    bound = alive[:, 0] / length_penalty(limits, penalties.alpha)
    new = new._replace(
        alive_ids=_rows(ids, kept),
        alive=alive,
        attended=_rows(attended, kept),
        done=ops.logical_or(time + 1 >= limits, bound <= new.scores[:, -1]),
    )
    return new, _rows(tokens, kept), _rows(origins, kept)


def _first_beams(batch_size: Any, beam: int, longest: Any, steps: Any) -> Any:
    ids = ops.zeros((batch_size, beam, longest), "int32")
    nothing = ops.full((batch_size, beam), -float("inf"), "float32")
    is_first = ops.equal(ops.arange(beam), 0)[None]
    return _Beams(
        alive_ids=ids,
        alive=ops.where(is_first, 0.0, nothing),
        attended=ops.zeros((batch_size, beam, steps), "float32"),
        ids=ids,
        log_probs=nothing,
        scores=nothing,
        done=ops.zeros((batch_size,), "bool"),
    )


def _unless_done(beams: _Beams, new: _Beams) -> _Beams:
    """Returns new beams, but of the sentences that were done the old ones."""
    return _Beams(
        *(
            ops.where(_like(beams.done, after), before, after)
            for before, after in zip(beams, new, strict=True)
        )
    )


def _with_finished(
    beams: _Beams, ids: Any, log_probs: Any, scores: Any
) -> _Beams:
    """Returns beams with the best of the finished and the newly finished."""
    beam = beams.scores.shape[-1]
    # The older come first: they win a tie.
    scores, kept = ops.top_k(
        ops.concatenate([beams.scores, scores], axis=1), beam
    )
    ids = ops.concatenate([beams.ids, ids], axis=1)
    log_probs = ops.concatenate([beams.log_probs, log_probs], axis=1)
    return beams._replace(
        ids=_rows(ids, kept), log_probs=_rows(log_probs, kept), scores=scores
    )


def _or_unfinished(beams: _Beams, scores: Any) -> Hypotheses:
    """Returns the finished; where there are none, the best that is not."""
    best = ops.argmax(scores, axis=-1)[:, None]
    is_none = ops.equal(beams.scores[:, :1], -float("inf"))
    is_place = ops.equal(ops.arange(scores.shape[-1]), 0)[None]
    takes = ops.logical_and(is_none, is_place)
    return Hypotheses(
        ops.where(takes[..., None], _rows(beams.alive_ids, best), beams.ids),
        ops.where(takes, _rows(beams.alive, best), beams.log_probs),
        ops.where(takes, _rows(scores, best), beams.scores),
    )


def _rows(of: Any, places: Any) -> Any:
    """Returns of [B, N] or [B, N, W] the rows at places [B, M]."""
    if len(of.shape) == 3:
        shape = (*ops.shape(places), ops.shape(of)[2])
        places = ops.broadcast_to(places[..., None], shape)
    return ops.take_along_axis(of, places, axis=1)


def _of_beams(tensor: Any, origins: Any) -> Any:
    """Returns of a state [B * K, W] what hypotheses [B, K] came from."""
    beam = origins.shape[-1]
    begins = ops.arange(ops.shape(origins)[0])[:, None] * beam
    return ops.take(tensor, ops.reshape(begins + origins, (-1,)), axis=0)


def _like(flags: Any, tensor: Any) -> Any:
    """Returns flags [B] with the rank of a tensor [B, ...]."""
    rank = len(tensor.shape)
    return ops.reshape(flags, (-1, *[1] * (rank - 1)))


def _flat(state: DecoderState) -> list[Any]:
    return [*(t for states in state.states for t in states), state.context]


def _packed(flat: list[Any], like: DecoderState) -> DecoderState:
    """Returns a state of tensors, of as many layers and states as another."""
    tensors = iter(flat)
    states = [[next(tensors) for _ in its] for its in like.states]
    return DecoderState(states, next(tensors))
