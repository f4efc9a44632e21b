"""What tests of `SharedWeights` share: small tasks, and losses by another path.

The other path: `NASRNN` in a tree space, the equations in that of ENAS, eager
and dense.
"""

import numpy as np
import tensorflow as tf

from nas_keras.data.text import build_corpus
from nas_keras.search import SharedWeights
from nas_keras.spaces import enas_recurrent_space
from nas_keras.spaces import tree_space
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask

TREE = tree_space(2)
DAG = enas_recurrent_space(3)
ALL = enas_recurrent_space(3, average="all")


def sentences(num_lines=60):
    sentence = "the cell reads one word, then the next, and forgets a third. "
    words = (sentence[k % 7 :] for k in range(num_lines))
    return build_corpus("\n".join(words), "char", name="sentences")


def small_task(**changes):
    arguments = {
        "units": 5,
        "batch_size": 4,
        "num_steps": 6,
        "num_updates": 7,
        "optimizer": "sgd",
        "init_scale": 0.4,
        "learning_rate": 0.5,
        "clip_norm": 0.3,  # Less than the first gradients of both spaces.
        "jit_compile": False,  # Compiling would take longer than running.
        **changes,
    }
    return LanguageModelTask(LanguageModelConfig(**arguments), sentences())


def sharing(space=TREE, task=None, **changes):
    arguments = {"num_phases": 2, "steps_per_phase": 2, **changes}
    return SharedWeights(space, task or small_task(), **arguments)


def random_tokens(space, num, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(space.num_options, size=(num, len(space.choices)))


def weights_of(shared):
    return [np.array(v) for v in shared.model.trainable_variables]


def spoil(shared, value):
    """Sets the softmax so that a uniform guess is far better, or to `value`."""
    bias = np.zeros(shared.model.vocabulary_size)
    bias[0] = value
    shared.model.softmax_bias.assign(bias)


def _dag_logits(space, tokens, weights, inputs, h):
    softmax_kernel, softmax_bias, embedding, kernel, recurrent, rows = weights
    dag = space.structure
    outputs = []
    for t in range(inputs.shape[1]):
        x = tf.gather(embedding, inputs[:, t])
        c, gate = tf.split(x @ kernel + h @ recurrent, 2, axis=1)
        states = [h + tf.sigmoid(gate) * (tf.tanh(c) - h)]
        for node in range(1, dag.nodes + 1):
            read, activation = tokens[2 * node - 2 : 2 * node]
            s = states[read]
            row = (node * (node - 1) // 2 + read) * 4 + activation
            c, gate = tf.split(s @ rows[row], 2, axis=1)
            value = (tf.tanh, tf.nn.relu, tf.sigmoid, tf.identity)[activation]
            states.append(s + tf.sigmoid(gate) * (value(c) - s))
        averaged = dag.averaged([int(k) for k in tokens[0::2]])
        h = tf.add_n([states[k] for k in averaged]) / len(averaged)
        outputs.append(h @ softmax_kernel + softmax_bias)
    return tf.stack(outputs, axis=1), h


def oracle_of(space, task, tokens, weights):
    """Returns a function of a window and states: (loss, gradients, states)."""
    spec = space.decode(tokens)
    batch_size, units = task.config.batch_size, task.config.units
    zeros = tf.zeros((batch_size, units))
    if space is TREE:
        model = task.model(spec)
        variables = model.trainable_variables
        begin = [[zeros, zeros]]
    else:
        variables = [tf.Variable(w, dtype=tf.float32) for w in weights]
        begin = zeros
    for variable, value in zip(variables, weights, strict=True):
        variable.assign(value)

    def window(tokens_of_text, states):
        inputs, targets = tokens_of_text[:, :-1], tokens_of_text[:, 1:]
        with tf.GradientTape() as tape:
            if space is TREE:
                logits, states, *_ = model(tf.constant(inputs), states)
            else:
                logits, states = _dag_logits(
                    space, tokens, variables, inputs, states
                )
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                tf.constant(targets, tf.int32), logits
            )
            loss = tf.reduce_mean(losses)
        values = variables
        if space is TREE:
            values = [v.value for v in variables]
        gradients = tape.gradient(loss, values)
        gradients = [np.array(tf.convert_to_tensor(g)) for g in gradients]
        return float(loss), gradients, states

    return window, begin


def window_of(task, split, number):
    """Returns the tokens [B, T + 1] of a window, the first after the last."""
    config = task.config
    text = getattr(task.corpus, split)
    length = len(text) // config.batch_size
    rows = text[: length * config.batch_size].reshape(config.batch_size, length)
    first = number % ((length - 1) // config.num_steps) * config.num_steps
    return rows[:, first : first + config.num_steps + 1]
