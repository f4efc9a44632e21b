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

BACKENDS = ("tensorflow", "jax")


def check_backend() -> None:
    """Refuses a backend that training has no compiled steps for.

    Raises:
        ValueError: If Keras's backend is none of `BACKENDS`.
    """
    if keras.backend.backend() not in BACKENDS:
        raise ValueError(
            f"KERAS_BACKEND must be one of {list(BACKENDS)} to train a "
            f"language model. Received: {keras.backend.backend()!r}."
        )


def compiled(
    function: Callable[..., Any],
    variables: Sequence[keras.Variable],
    jit_compile: bool = False,
    varies: bool = False,
) -> Callable[..., Any]:
    """Returns a function of tensors as one compiled program.

    Args:
        function: Takes and returns nested tensors; may read and assign
            `variables` and no others.
        variables: Keras variables.
        jit_compile: Whether XLA compiles it on TensorFlow. JAX always does.
        varies: Whether shapes vary from call to call. TensorFlow then traces
            it for any; JAX, and XLA, compile anew for each.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(
            function,
            jit_compile=jit_compile,
            reduce_retracing=varies,
            autograph=False,
        )
    return _compiled_by_jax(function, variables)


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
    if keras.backend.backend() == "tensorflow":
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
