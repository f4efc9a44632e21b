"""NumPy re-implementation of a controller's policy, written from the papers.

Nothing here comes from `nas_keras`. Axes: B architectures, A choices, U units,
K the most options that a choice has.
"""

import numpy as np

from tests import oracles


def policy(choices, weights, noise=None, tokens=None, temperature=1, bound=0):
    """Zoph & Le, 2017, sections 3.1 and 3.3; squashed as ENAS: Pham et al.

    Args:
        choices: A pairs (number of options, anchors or None). An anchor is
            the place of an earlier choice, -1 the beginning.
        weights: `lstm`: one (kernel, recurrent_kernel, bias) a layer;
            `start` [1, U]; `heads` [A, U, K]; `biases` [A, K]; `embeddings`
            [A, K, U]; and, where there are anchors, `key_kernel` and
            `query_kernel` [U, U] and `attention` [U].
        noise: [B, A], to sample.
        tokens: [B, A], to score these instead.
        temperature: Logits are divided by it.
        bound: Logits are then bound * tanh(logits); 0: they are not.

    Returns:
        tokens [B, A], and a list of B lists of A distributions [K].
    """
    given = noise if tokens is None else tokens
    rows = [
        _policy_row(choices, weights, row, tokens is None, temperature, bound)
        for row in given
    ]
    return np.array([row for row, _ in rows]), [probs for _, probs in rows]


def _policy_row(choices, weights, given, is_noise, temperature, bound):
    units = weights["start"].shape[-1]
    states = [(np.zeros((1, units)), np.zeros((1, units)))]
    states = states * len(weights["lstm"])
    value, remembered = weights["start"], {-1: np.zeros(units)}
    tokens, distributions = [], []
    for place, (num_options, anchors) in enumerate(choices):
        for layer, arrays in enumerate(weights["lstm"]):
            states[layer] = oracles.lstm(value, *states[layer], *arrays)
            value = states[layer][0]
        hidden = value[0]
        if anchors is None:
            logits = hidden @ weights["heads"][place] + weights["biases"][place]
            logits = logits[:num_options]
        else:
            query = hidden @ weights["query_kernel"]
            keys = [remembered[k] @ weights["key_kernel"] for k in anchors]
            logits = np.array(
                [weights["attention"] @ np.tanh(key + query) for key in keys]
            )
        logits = logits / temperature
        if bound:
            logits = bound * np.tanh(logits)
        probs = np.exp(logits) / np.exp(logits).sum()
        token = int(given[place])
        if is_noise:
            token = int(np.searchsorted(np.cumsum(probs), given[place]))
        tokens.append(token)
        distributions.append(probs)
        remembered[place] = hidden
        if anchors is None:
            value = weights["embeddings"][place, token][None]
        else:
            value = remembered[anchors[token]][None]
    return tokens, distributions
