"""NumPy re-implementations for translation: GNMT, its searches, its loss.

Nothing here comes from `nas_keras`. Axes: B sentences, S source steps, T
target steps, D input width, E embedding width, H units, M memory width, A
attention width, V vocabulary, K beam. All is computed in float64.

A `cell` is a function such as those of `oracles`: `cell(x, *states, *weights)`
returns its new states, `h` [B, H] first. A layer's `weights` are a tuple, of
arrays for `oracles.lstm` and of one mapping for `oracles.CELLS["lstm"]`. Every
source sentence has a real step; what is not real is padding.
"""

import numpy as np


def _float64(array):
    return np.asarray(array, dtype="float64")


# Attention.


def bahdanau(query, memory, is_real, w):
    """Bahdanau et al., 2015, its v normed as by Salimans & Kingma, 2016.

    Args:
        query: [B, H].
        memory: [B, S, M].
        is_real: bool [B, S].
        w: `memory_kernel` [M, A], `query_kernel` [H, A], `bias` [A], `v` [A]
            and `g`, a scalar.

    Returns:
        context [B, M], weights [B, S].
    """
    v = _float64(w["v"])
    direction = v / np.sqrt(np.sum(v**2))
    keys = _float64(memory) @ w["memory_kernel"]
    projected = _float64(query) @ w["query_kernel"]
    hidden = np.tanh(keys + projected[:, None, :] + w["bias"])
    scores = w["g"] * (hidden @ direction)
    return _attend(scores, memory, is_real)


def luong(query, memory, is_real, w):
    """Luong et al., 2015: "general", scaled by g.

    Args and returns as of `bahdanau`, but `w` is of `memory_kernel` [M, H]
    and `g`, a scalar.
    """
    keys = _float64(memory) @ w["memory_kernel"]
    scores = w["g"] * np.einsum("bh,bsh->bs", _float64(query), keys)
    return _attend(scores, memory, is_real)


def _attend(scores, memory, is_real):
    scores = np.where(is_real, scores, -np.inf)
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = exps / exps.sum(axis=-1, keepdims=True)
    context = np.einsum("bs,bsm->bm", weights, _float64(memory))
    return context, weights


# Encoder and decoder.


def run_layer(cell, x, is_real, states, weights, backwards=False):
    """Runs a recurrent layer; a padded step leaves the states as they are.

    Args:
        cell: See above.
        x: [B, T, D].
        is_real: bool [B, T].
        states: The states before the first step, each [B, its width].
        weights: A tuple.
        backwards: Whether it reads each sentence from its last step to its
            first; an output stays at the place of its input.

    Returns:
        outputs [B, T, H], zero where padded, and the tuple of final states.
    """
    x = _float64(x)
    states = tuple(_float64(state) for state in states)
    num_steps = x.shape[1]
    order = reversed(range(num_steps)) if backwards else range(num_steps)
    outputs = [None] * num_steps
    for t in order:
        real = is_real[:, t, None]
        after = cell(x[:, t], *states, *weights)
        outputs[t] = np.where(real, after[0], 0.0)
        states = tuple(
            np.where(real, new, old)
            for new, old in zip(after, states, strict=True)
        )
    return np.stack(outputs, axis=1), states


def encode(cell, x, is_real, layers, widths):
    """Wu et al., 2016: one bidirectional layer, then uni-directional ones.

    The third layer, which is the second uni-directional one, is the first
    that adds its input to its output.

    Args:
        cell: See above.
        x: [B, S, E], embedded sources.
        is_real: bool [B, S].
        layers: `forward` and `backward`, weights, and `uni`, a list of them.
        widths: The widths of the cell's states: (H, H) for h and c.

    Returns:
        memory [B, S, M], zero where padded, and a list with the states each
        decoder layer starts from: those of the backward half, then those of
        each uni-directional layer.
    """
    zeros = tuple(np.zeros((len(x), width)) for width in widths)
    forward, _ = run_layer(cell, x, is_real, zeros, layers["forward"])
    backward, final = run_layer(
        cell, x, is_real, zeros, layers["backward"], backwards=True
    )
    memory = np.concatenate([forward, backward], axis=-1)
    finals = [final]
    for index, weights in enumerate(layers["uni"]):
        outputs, final = run_layer(cell, memory, is_real, zeros, weights)
        memory = outputs + memory if index >= 1 else outputs
        finals.append(final)
    return memory, finals


def decode(cell, y, memory, is_real, states, layers, attention, timing):
    """The decoder of GNMT; only its bottom layer asks the attention.

    Args:
        cell: See above.
        y: [B, T, E], embedded target inputs; every step is taken as real.
        memory: [B, S, M].
        is_real: bool [B, S], of the source.
        states: One tuple of states a layer.
        layers: One tuple of weights a layer.
        attention: A function(query, memory, is_real) of context and weights.
        timing: The context that the upper layers read: "current" (gnmt_v2)
            or "previous" (gnmt).

    Returns:
        outputs [B, T, H] of the top layer, contexts [B, T, M], attention
        weights [B, T, S], and the final states, as `states`.
    """
    y = _float64(y)
    states = [tuple(_float64(s) for s in of_layer) for of_layer in states]
    context = np.zeros((len(y), memory.shape[-1]))
    outputs, contexts, attentions = [], [], []
    for t in range(y.shape[1]):
        previous = context
        bottom = np.concatenate([y[:, t], previous], axis=-1)
        states[0] = cell(bottom, *states[0], *layers[0])
        x = states[0][0]
        context, attended = attention(x, memory, is_real)
        read = {"current": context, "previous": previous}[timing]
        for index in range(1, len(layers)):
            both = np.concatenate([x, read], axis=-1)
            states[index] = cell(both, *states[index], *layers[index])
            output = states[index][0]
            x = output + x if index >= 2 else output
        outputs.append(x)
        contexts.append(context)
        attentions.append(attended)
    stacked = [np.stack(v, axis=1) for v in (outputs, contexts, attentions)]
    return *stacked, states


# Scores: Wu et al., 2016, section 7. A length counts the end token, not the
# begin token, and an attention sum has the step of every token it counts.


def length_penalty(length, alpha):
    return ((5 + length) / 6) ** alpha


def coverage_penalty(attention_sum, is_real, beta):
    """Returns beta * sum over real i of log(min(sum_j p_ij, 1)), at most 0.

    Args:
        attention_sum: [S], summed over the steps of the target.
        is_real: bool [S].
        beta: At least 0; if 0, so is the penalty, whatever was attended.
    """
    if beta == 0:
        return 0.0
    covered = np.minimum(_float64(attention_sum)[np.asarray(is_real)], 1.0)
    with np.errstate(divide="ignore"):  # A step never read costs infinity.
        return beta * float(np.log(covered).sum())


def hypothesis_score(log_prob, length, alpha, attention_sum, is_real, beta):
    coverage = coverage_penalty(attention_sum, is_real, beta)
    return log_prob / length_penalty(length, alpha) + coverage


# Searches, of one sentence. Both call `step(prefix)` once for each prefix, a
# tuple that begins with `begin`; it returns log-probabilities [V] and attention
# weights [S]. Hypotheses are tuples of tokens without `begin`.


def exhaustive_search(
    step,
    begin,
    end,
    vocabulary_size,
    max_length,
    alpha,
    beta,
    is_real,
    forbidden=(),
):
    """Scores every hypothesis that ends with `end` by `max_length` tokens.

    Args:
        step: See above.
        begin: A token, which is produced too unless it is forbidden.
        end: A token.
        vocabulary_size: V.
        max_length: The most tokens, `end` among them.
        alpha: Of `length_penalty`.
        beta: Of `coverage_penalty`.
        is_real: bool [S].
        forbidden: Tokens that are never produced.

    Returns:
        A list of (score, tokens), best first; ties by the tokens.
    """
    scored = []

    def visit(tokens, log_prob, attention_sum):
        log_probs, attended = step((begin, *tokens))
        total = attention_sum + attended
        for token in range(vocabulary_size):
            if token in forbidden:
                continue
            longer = (*tokens, token)
            joint = log_prob + float(log_probs[token])
            if token == end:
                score = hypothesis_score(
                    joint, len(longer), alpha, total, is_real, beta
                )
                scored.append((score, longer))
            elif len(longer) < max_length:
                visit(longer, joint, total)

    visit((), 0.0, np.zeros(len(is_real)))
    return sorted(scored, key=lambda pair: (-pair[0], pair[1]))


def beam_search(
    step,
    begin,
    end,
    vocabulary_size,
    max_length,
    beam,
    alpha,
    beta,
    is_real,
    forbidden=(),
):
    """Keeps the K likeliest alive hypotheses and the K best finished ones.

    Each step takes the 2K likeliest extensions by one token: those by `end`
    are finished, of the others the K likeliest stay alive. It stops early once
    K are finished and no alive one can still beat the worst of them: at best
    it gets on for free to `max_length`, for alpha and beta of at least 0. Ties
    go to the lower (place in the beam * V + token), and to the older among
    finished ones.

    Args:
        beam: K. The others as of `exhaustive_search`.

    Returns:
        A list of (score, tokens), best first: the finished ones, or, where
        there is none, the one alive hypothesis of the best score.
    """

    def scored(hypothesis):
        log_prob, tokens, attention_sum = hypothesis
        score = hypothesis_score(
            log_prob, len(tokens), alpha, attention_sum, is_real, beta
        )
        return score, tokens

    alive = [(0.0, (), np.zeros(len(is_real)))]
    finished = []
    for _ in range(max_length):
        extensions = []
        for log_prob, tokens, attention_sum in alive:
            log_probs, attended = step((begin, *tokens))
            extensions += [
                (
                    log_prob + float(log_probs[token]),
                    (*tokens, token),
                    attention_sum + attended,
                )
                for token in range(vocabulary_size)
                if token not in forbidden
            ]
        likeliest = _best(extensions, 2 * beam)
        ended = [scored(h) for h in likeliest if h[1][-1] == end]
        finished = _best(finished + ended, beam)
        alive = [h for h in likeliest if h[1][-1] != end][:beam]
        if not alive:
            break
        bound = alive[0][0] / length_penalty(max_length, alpha)
        if len(finished) == beam and bound <= finished[-1][0]:
            break
    return finished or _best([scored(h) for h in alive], 1)


def _best(items, count):
    """Returns the `count` items of the highest first entry; ties in order."""
    return sorted(items, key=lambda item: item[0], reverse=True)[:count]


# The loss.


def cross_entropy(logits, targets, is_real, smoothing):
    """Szegedy et al., 2016: smoothing / V on every class, the rest on one.

    Args:
        logits: [B, T, V].
        targets: int [B, T]; those of padded steps may be any class.
        is_real: bool [B, T].
        smoothing: Between 0 and 1.

    Returns:
        The smoothed and the plain loss, each summed over real tokens, in nats.
    """
    logits = _float64(logits)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    one_hot = np.eye(logits.shape[-1])[targets]
    wanted = (1 - smoothing) * one_hot + smoothing / logits.shape[-1]
    smoothed = -np.sum(wanted * log_probs, axis=-1)
    plain = -np.sum(one_hot * log_probs, axis=-1)
    return float(smoothed[is_real].sum()), float(plain[is_real].sum())
