"""What differs between Keras's backends when a training step is compiled.

A step is written once, as a function that reads and assigns Keras variables.
TensorFlow compiles it as it is. JAX compiles pure functions: there the values
of all variables go in and come out. Neither TensorFlow nor JAX is imported
before it is needed.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from nas_keras import libraries

BACKENDS = ("tensorflow", "jax")


def check_backend() -> None:
    """Refuses a backend that training has no compiled steps for.

    Raises:
        ValueError: If Keras's backend is none of `BACKENDS`.
    """
    if keras.backend.backend() not in BACKENDS:
        raise ValueError(
            f"KERAS_BACKEND must be one of {list(BACKENDS)} to train a "
            f"model. Received: {keras.backend.backend()!r}."
        )


def compiled(
    function: Callable[..., Any],
    variables: Sequence[keras.Variable],
    jit_compile: bool = False,
    num_varying: int = 0,
) -> Callable[..., Any]:
    """Returns a function of tensors as one compiled program.

    Args:
        function: Takes and returns nested tensors; may read and assign
            `variables` and no others.
        variables: Keras variables.
        jit_compile: Whether XLA compiles it on TensorFlow. JAX always does.
        num_varying: So many first arguments are tensors whose last axis has
            another length in each call. TensorFlow then traces the function
            once, for any; JAX, and XLA, compile anew for each.
    """
    if libraries.is_backend_tensorflow():
        return _compiled_by_tensorflow(function, jit_compile, num_varying)
    return _compiled_by_jax(function, variables)


def _compiled_by_tensorflow(
    function: Callable[..., Any], jit_compile: bool, num_varying: int
) -> Callable[..., Any]:
    import tensorflow as tf

    traced = tf.function(function, jit_compile=jit_compile, autograph=False)
    if not num_varying:
        return traced

    concrete = None

    def run(*arguments: Any) -> Any:
        nonlocal concrete
        if concrete is None:
            # Not `reduce_retracing`: the first calls would be traced for their
            # own lengths, to other last digits, and a restart has others.
            spec_of = tf.TensorSpec.from_tensor
            signature = list(tf.nest.map_structure(spec_of, arguments))
            for place in range(num_varying):
                its = signature[place]
                shape = [*its.shape[:-1], None]
                signature[place] = tf.TensorSpec(shape, its.dtype)
            concrete = traced.get_concrete_function(*signature)
        return concrete(*arguments)

    return run


def _compiled_by_jax(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    import jax

    @jax.jit
    def pure(values: list[Any], *arguments: Any) -> tuple[Any, list[Any]]:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            result = function(*arguments)
        return result, _values(scope, variables)

    def run(*arguments: Any) -> Any:
        result, values = pure([v.value for v in variables], *arguments)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return result

    return run


def _values(scope: Any, variables: Sequence[keras.Variable]) -> list[Any]:
    return [scope.get_current_value(variable) for variable in variables]


def repeated(
    function: Callable[[Any, Any], tuple[Any, Any]],
    num: Any,
    states: Any,
    size: int,
    variables: Sequence[keras.Variable],
) -> tuple[Any, Any]:
    """Calls a function several times, one after the other.

    For use inside a `compiled` function: a loop of the program's own, which
    costs no call from Python for each time.

    Args:
        function: Takes a number from 0 on, int32 [], and the states; returns a
            float32 [] and the new states. It may assign `variables`.
        num: How often, int32 [], at most `size`.
        states: Nested tensors. What counts on from a number that differs from
            call to call should be among them: XLA takes what no call changes
            for a constant, and would compile for each number anew.
        size: Length of the results.
        variables: As for `compiled`.

    Returns:
        The results, float32 [size], zeros from `num` on; and the last states.
    """
    if libraries.is_backend_tensorflow():
        import tensorflow as tf

        def step(index: Any, results: Any, states: Any) -> tuple[Any, ...]:
            result, states = function(index, states)
            results = tf.tensor_scatter_nd_update(results, [[index]], [result])
            return index + 1, results, states

        _, results, states = tf.while_loop(
            lambda index, *_: index < num,
            step,
            (tf.constant(0), tf.zeros(size), states),
        )
        return results, states
    return _repeated_by_jax(function, num, states, size, variables)


def _repeated_by_jax(
    function: Callable[[Any, Any], tuple[Any, Any]],
    num: Any,
    states: Any,
    size: int,
    variables: Sequence[keras.Variable],
) -> tuple[Any, Any]:
    import jax

    def step(index: Any, carried: tuple[Any, ...]) -> tuple[Any, ...]:
        values, results, states = carried
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            result, states = function(index, states)
        return _values(scope, variables), results.at[index].set(result), states

    values, results, states = jax.lax.fori_loop(
        0,
        num,
        step,
        ([v.value for v in variables], jax.numpy.zeros(size), states),
    )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return results, states


def value_and_gradients(
    function: Callable[[], tuple[Any, Any]],
    weights: Sequence[keras.Variable],
    others: Sequence[keras.Variable] = (),
) -> tuple[Any, list[Any], Any]:
    """Returns a value, its gradients and what else a function returns.

    For use inside a `compiled` function.

    Args:
        function: Returns a scalar and anything else.
        weights: What to differentiate by.
        others: All other variables that the function reads or assigns.
    """
    if libraries.is_backend_tensorflow():
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value, rest = function()
        gradients = tape.gradient(value, [v.value for v in weights])
        return value, [tf.convert_to_tensor(g) for g in gradients], rest
    return _differentiated_by_jax(function, weights, others)


def _differentiated_by_jax(
    function: Callable[[], tuple[Any, Any]],
    weights: Sequence[keras.Variable],
    others: Sequence[keras.Variable],
) -> tuple[Any, list[Any], Any]:
    import jax

    held = [v.value for v in others]

    def of(values: list[Any]) -> tuple[Any, Any]:
        mapping = list(zip(weights, values, strict=True))
        mapping += list(zip(others, held, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            value, rest = function()
        return value, (rest, _values(scope, others))

    (value, (rest, new)), gradients = jax.value_and_grad(of, has_aux=True)(
        [v.value for v in weights]
    )
    for variable, array in zip(others, new, strict=True):
        variable.assign(array)
    return value, gradients, rest
