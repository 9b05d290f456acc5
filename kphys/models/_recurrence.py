"""Recurrent layers for XLA: one product for what comes from all inputs, and a backward pass of their own.

XLA compiles them with the model that they are in, or, where that has what XLA has not, strings, all alone.

As XLA compiles the gradient of TensorFlow's loop, its time grows as T² with the number T of steps in every layer that
hands on a sequence. Here a step of the backward pass has one product,

    δ_t = (∂L/∂h_t, …) times the slopes of the gates,    ∂L/∂h_(t−1) = δ_t Uᵀ + …,

where U is the recurrent kernel; slopes and the gradients of all weights are taken for all steps at once.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from kphys.models._updates import put

Tensors = tuple[tf.Tensor, ...]


class Cell(NamedTuple):
    """What a cell does in one step, and backwards; of states the first is the output h.

    Args:
        step: `(from input, from state, states)` to new states and what is kept for the way back.
        slopes: `(kept, states before, states after)`, all steps at once, to what `back` takes of each.
        back: `(slopes, gradients of the states after)` to δ and those of the states before, but for what goes through
            the recurrent kernel.
        of_state: Of δ, what belongs to the product with the recurrent kernel.
        of_input: Of δ, what belongs to what came from the input.
    """

    step: Callable[[tf.Tensor, tf.Tensor, Tensors], tuple[Tensors, Tensors]]
    slopes: Callable[[Tensors, Tensors, Tensors], Tensors]
    back: Callable[[Tensors, Tensors], tuple[tf.Tensor, Tensors]]
    of_state: Callable[[tf.Tensor], tf.Tensor] = lambda delta: delta
    of_input: Callable[[tf.Tensor], tf.Tensor] = lambda delta: delta


# Numbers of different gates stay in tensors of their own: XLA takes longer to put them together than to write them.

# === Long short-term memory: gates i, f, g, o ===


def _lstm_step(from_input: tf.Tensor, from_state: tf.Tensor, states: Tensors) -> tuple[Tensors, Tensors]:
    """Gives c' = f c + i g and h' = o tanh(c')."""
    i, f, g, o = tf.split(from_input + from_state, 4, axis=-1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    c = f * states[1] + i * g
    return (o * tf.tanh(c), c), (i, f, g, o)


def _lstm_slopes(kept: Tensors, before: Tensors, after: Tensors) -> Tensors:
    i, f, g, o = kept
    tanh = tf.tanh(after[1])
    of_gates = g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g * g), tanh * o * (1 - o)
    return *of_gates, o * (1 - tanh * tanh), f


def _lstm_back(slopes: Tensors, gradients: Tensors) -> tuple[tf.Tensor, Tensors]:
    of_i, of_f, of_g, of_o, of_c, f = slopes
    dh, dc = gradients
    dc = dc + dh * of_c
    return tf.concat([dc * of_i, dc * of_f, dc * of_g, dh * of_o], axis=-1), (tf.zeros_like(dh), dc * f)


# === Gated recurrent unit: gates z, r, n, the reset after the product ===


def _gru_step(from_input: tf.Tensor, from_state: tf.Tensor, states: Tensors) -> tuple[Tensors, Tensors]:
    """Gives h' = z h + (1 − z) n with n = tanh(x_n + r s_n), x_n and s_n from input and state."""
    (x_z, x_r, x_n), (s_z, s_r, s_n) = (tf.split(part, 3, axis=-1) for part in (from_input, from_state))
    z, r = tf.sigmoid(x_z + s_z), tf.sigmoid(x_r + s_r)
    n = tf.tanh(x_n + r * s_n)
    return (z * states[0] + (1 - z) * n,), (z, r, n, s_n)


def _gru_slopes(kept: Tensors, before: Tensors, after: Tensors) -> Tensors:
    z, r, n, s_n = kept
    of_n = (1 - z) * (1 - n * n)
    return (before[0] - n) * z * (1 - z), of_n * s_n * r * (1 - r), of_n * r, of_n, z


def _gru_back(slopes: Tensors, gradients: Tensors) -> tuple[tf.Tensor, Tensors]:
    """Gives δ of z, r, s_n and x_n."""
    (dh,) = gradients
    *of_gates, z = slopes
    return tf.concat([dh * of_gate for of_gate in of_gates], axis=-1), (dh * z,)


def _gru_of_state(delta: tf.Tensor) -> tf.Tensor:
    return delta[..., : 3 * delta.shape[-1] // 4]


def _gru_of_input(delta: tf.Tensor) -> tf.Tensor:
    z, r, _, n = tf.split(delta, 4, axis=-1)
    return tf.concat([z, r, n], axis=-1)


# === Simple cell ===


def _simple_step(from_input: tf.Tensor, from_state: tf.Tensor, states: Tensors) -> tuple[Tensors, Tensors]:
    """Gives h' = tanh(x + s)."""
    return (tf.tanh(from_input + from_state),), ()


def _simple_slopes(kept: Tensors, before: Tensors, after: Tensors) -> Tensors:
    return (1 - after[0] * after[0],)


def _simple_back(slopes: Tensors, gradients: Tensors) -> tuple[tf.Tensor, Tensors]:
    (dh,) = gradients
    return dh * slopes[0], (tf.zeros_like(dh),)


_CELLS = {
    keras.layers.LSTM: Cell(_lstm_step, _lstm_slopes, _lstm_back),
    keras.layers.GRU: Cell(_gru_step, _gru_slopes, _gru_back, _gru_of_state, _gru_of_input),
    keras.layers.SimpleRNN: Cell(_simple_step, _simple_slopes, _simple_back),
}


# === All steps ===


def recurrence(
    cell: Cell,
    from_inputs: tf.Tensor,
    kernel: tf.Tensor,
    biases: Tensors,
    states: Tensors,
    mask: tf.Tensor | None,
    gradients: list[str],
) -> tuple[tf.Tensor, Tensors]:
    """Gives outputs of all steps, `(timesteps, batch, units)`, and the last states.

    Args:
        cell: One of the above.
        from_inputs: What comes from the inputs, bias included, `(timesteps, batch, gates × units)`.
        kernel: The recurrent kernel.
        biases: Of the product with the state: none, or one.
        states: Before the first step, `(batch, units)` each.
        mask: Which steps there are, `(timesteps, batch, 1)`: states stay as they are at others. `None`: all.
        gradients: Takes the name under which TensorFlow keeps the backward pass, if this is traced.
    """
    masks, count = () if mask is None else (mask,), len(biases)

    @tf.custom_gradient
    def run(from_inputs: tf.Tensor, kernel: tf.Tensor, *others: tf.Tensor) -> Any:
        biases, states = others[:count], others[count:]
        last, after, kept = _forwards(cell, from_inputs, kernel, biases, states, masks)

        def gradient(of_outputs: tf.Tensor, *of_last: tf.Tensor) -> Tensors:
            first_and_later = zip(states, after, strict=True)
            before = tuple(tf.concat([first[tf.newaxis], later[:-1]], axis=0) for first, later in first_and_later)
            slopes = cell.slopes(kept, before, after)
            of_states, deltas = _backwards(cell, slopes, kernel, masks, of_outputs, of_last)
            units, gates = kernel.shape
            rows = tf.reshape(cell.of_state(deltas), (-1, gates))
            of_kernel = tf.matmul(tf.reshape(before[0], (-1, units)), rows, transpose_a=True)
            return cell.of_input(deltas), of_kernel, *(tf.reduce_sum(rows, axis=0) for _ in biases), *of_states

        return (after[0], *last), gradient

    outputs, *last = run(from_inputs, kernel, *biases, *states)
    if not tf.executing_eagerly():
        gradients.append(outputs.op.get_attr("_gradient_op_type").decode())
    return outputs, tuple(last)


def _forwards(
    cell: Cell, from_inputs: tf.Tensor, kernel: tf.Tensor, biases: Tensors, states: Tensors, masks: Tensors
) -> tuple[Tensors, Tensors, Tensors]:
    """Gives the last states, those after every step, and what is kept of every step."""

    def step(inputs: Tensors, states: Tensors) -> tuple[Tensors, Tensors]:
        from_input, *mask = inputs
        after, kept = cell.step(from_input, sum(biases, tf.matmul(states[0], kernel)), states)
        after = _where(mask, after, states)
        return after, (*after, *kept)

    last, every = _loop(step, (from_inputs, *masks), states)
    return last, every[: len(states)], every[len(states) :]


def _backwards(
    cell: Cell, slopes: Tensors, kernel: tf.Tensor, masks: Tensors, of_outputs: tf.Tensor, of_last: Tensors
) -> tuple[Tensors, tf.Tensor]:
    """Gives the gradients of the states before the first step, and δ of every step."""

    def step(inputs: Tensors, of_after: Tensors) -> tuple[Tensors, Tensors]:
        of_output, slopes, mask = inputs[0], inputs[1 : len(inputs) - len(masks)], inputs[len(inputs) - len(masks) :]
        of_after = (of_after[0] + of_output, *of_after[1:])
        delta, (of_h, *of_others) = cell.back(slopes, of_after)
        of_h += tf.matmul(cell.of_state(delta), kernel, transpose_b=True)
        return _where(mask, (of_h, *of_others), of_after), _where(mask, (delta,), (tf.zeros_like(delta),))

    of_states, (deltas,) = _loop(step, (of_outputs, *slopes, *masks), of_last, backwards=True)
    return of_states, deltas


def _where(mask: Sequence[tf.Tensor], these: Tensors, others: Tensors) -> Tensors:
    """Gives `these` where the mask, if there is one, says so, and `others` elsewhere."""
    return tuple(tf.where(mask[0], a, b) for a, b in zip(these, others, strict=True)) if mask else these


def _loop(
    step: Callable[[Tensors, Tensors], tuple[Tensors, Tensors]],
    inputs: Tensors,
    states: Tensors,
    backwards: bool = False,
) -> tuple[Tensors, Tensors]:
    """Gives the last states and all steps' results of `step(inputs, states)`, from the first to the last or back."""
    number = inputs[0].shape[0] or tf.shape(inputs[0])[0]
    first, towards = (number - 1, -1) if backwards else (0, 1)
    _, results = step(tuple(part[0] for part in inputs), states)  # Not used: what results are like.
    arrays = tuple(tf.TensorArray(part.dtype, number, element_shape=part.shape) for part in results)
    parts = tuple(tf.TensorArray(part.dtype, number).unstack(part) for part in inputs)

    def one(count: tf.Tensor, states: Tensors, arrays: Any) -> tuple[tf.Tensor, Tensors, Any]:
        place = first + towards * count
        states, results = step(tuple(part.read(place) for part in parts), states)
        arrays = tuple(array.write(place, result) for array, result in zip(arrays, results, strict=True))
        return count + 1, states, arrays

    _, states, arrays = tf.while_loop(
        lambda count, *_: count < number, one, (tf.constant(0), states, arrays), maximum_iterations=number
    )
    return states, tuple(array.stack() for array in arrays)


# === In a layer ===


@contextlib.contextmanager
def own_backward_passes(model: keras.Model, xla: bool, alone: bool = False) -> Iterator[None]:
    """Has the recurrent layers of `model` run as above in what is traced meanwhile; then they are as before.

    With `xla` XLA compiles them in the model, which is what they are for; with `alone` just them. Not where there is a
    GPU, for which cuDNN has kernels. An evaluation within a `fit` finds that done.
    """
    layers = model._flatten_layers() if (xla or alone) and not tf.config.get_visible_devices("GPU") else ()
    gradients: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.callback(_forget, gradients)
        for layer in layers:
            if _is_usual(layer) and "inner_loop" not in vars(layer):
                loop = functools.partial(_inner_loop, layer, layer.inner_loop, alone, gradients)
                put(stack, layer, "inner_loop", loop)
        yield


def _forget(gradients: list[str]) -> None:
    """Has TensorFlow forget these backward passes, which it needs while it traces and keeps for good.

    Each holds the graph of a training step, and with it the weights.
    """
    for name in gradients:
        gradient_registry._registry.pop(name, None)


def _is_usual(layer: keras.layers.Layer) -> bool:
    """Says whether `layer` is Keras' own with what its formulas above take for granted."""
    if type(layer) not in _CELLS:
        return False
    usual = {"activation": keras.activations.tanh, "recurrent_activation": keras.activations.sigmoid}
    activations = all(getattr(layer, name, function) is function for name, function in usual.items())
    drops = layer.dropout or layer.recurrent_dropout
    return activations and layer.use_bias and not drops and not layer.unroll and getattr(layer, "reset_after", True)


def _inner_loop(
    layer: keras.layers.RNN,
    keras_loop: Callable[..., Any],
    alone: bool,
    gradients: list[str],
    sequences: Any,
    initial_state: Any,
    mask: Any,
    training: bool | None = False,
) -> tuple[Any, Any, list[Any]]:
    """Stands for `RNN.inner_loop`: gives the last output, all outputs or that alone, and the last states."""
    # Keras' loop keeps nothing for a way back, and answers in half the time. Alone, XLA would compile anew for every
    # number of steps, and, where nothing is traced, at every step.
    if not training or (alone and (sequences.shape[1] is None or tf.executing_eagerly())):
        return keras_loop(sequences, initial_state, mask=mask, training=training)
    cell = layer.cell
    kernel, recurrent_kernel, bias = map(tf.convert_to_tensor, (cell.kernel, cell.recurrent_kernel, cell.bias))
    of_input, *biases = tf.unstack(bias) if bias.shape.rank == 2 else (bias,)  # A GRU has a second one.
    inputs = _by_steps(sequences, layer.go_backwards)
    if mask is not None:
        mask = tf.cast(keras.tree.flatten(mask)[0], tf.bool)
        mask = _by_steps(mask if mask.shape.rank == 3 else mask[..., tf.newaxis], layer.go_backwards)
    from_inputs = tf.nn.bias_add(_product(inputs, kernel), of_input)
    states = tuple(keras.tree.flatten(initial_state))

    def run(*arguments: Any) -> tuple[tf.Tensor, Tensors]:
        return recurrence(_CELLS[type(layer)], *arguments, gradients)

    if alone:
        run = tf.function(run, autograph=False, jit_compile=True)
    outputs, states = run(from_inputs, recurrent_kernel, tuple(biases), states, mask)
    if mask is not None:  # As Keras has it: before the first step there is there are none, afterwards the last again.
        shown = mask if layer.zero_output_for_mask else tf.cumsum(tf.cast(mask, tf.int32)) > 0
        outputs = tf.where(shown, outputs, tf.zeros_like(outputs))
    last = states[0] if mask is None else outputs[-1]
    outputs = tf.transpose(outputs, (1, 0, 2)) if layer.return_sequences else last[:, tf.newaxis]
    return last, outputs, list(states)


def _product(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Gives what `tf.tensordot(inputs, kernel, 1)` does, whose gradient forgets the shape of the kernel."""
    timesteps, batch, features = tf.unstack(tf.shape(inputs))
    rows = tf.matmul(tf.reshape(inputs, (-1, features)), kernel)
    return tf.reshape(rows, (timesteps, batch, kernel.shape[-1]))


def _by_steps(tensor: tf.Tensor, backwards: bool) -> tf.Tensor:
    """Gives `(batch, timesteps, …)` as `(timesteps, batch, …)`."""
    tensor = tf.transpose(tensor, (1, 0, 2))
    return tf.reverse(tensor, [0]) if backwards else tensor
