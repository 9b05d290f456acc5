"""Recurrent layers for XLA: one product for what comes from all inputs, and a backward pass of their own.

XLA compiles them alone, in the middle of a graph that it does not compile, and two halves of the batch run side by
side: XLA's loops have one thread each. Or it compiles them with the model that they are in.

As XLA compiles the gradient of TensorFlow's loop, its time grows as T² with the number T of steps in every layer that
hands on a sequence. Here a step of the backward pass has one product,

    δ_t = (∂L/∂h_t, …) times the slopes of the gates,    ∂L/∂h_(t−1) = δ_t Uᵀ + …,

where U is the recurrent kernel; slopes and the gradients of all weights are taken for all steps at once.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from kphys.models._updates import put

Tensors = tuple[tf.Tensor, ...]


class Cell(NamedTuple):
    """What a cell does in one step, and backwards; of states the first is the output h.

    Args:
        step: `(from input, from state, states)` to new states and what is kept for the way back. The first that is
            kept has the shape of what came from the input, and takes its place.
        slopes: `(kept, states before, states after)`, all steps at once, to what `back` takes of each. The first has
            the shape of δ, which may take its place.
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


# XLA runs up to eight operations a step without asking which could run at once, and takes as long for each to be called
# as for some thousand numbers: gates are few operations on long rows.

# === Long short-term memory: gates i, f, g, o ===


def _lstm_step(from_input: tf.Tensor, from_state: tf.Tensor, states: Tensors) -> tuple[Tensors, Tensors]:
    """Gives c' = f c + i g and h' = o tanh(c'); all gates are one operation, as σ(x) = ½ + ½ tanh(½ x)."""
    units = from_input.shape[-1] // 4
    half = tf.constant(np.repeat([0.5, 0.5, 1.0, 0.5], units), from_input.dtype)
    gates = (1 - half) + half * tf.tanh(half * (from_input + from_state))
    i, f, g, o = tf.split(gates, 4, axis=-1)
    c = f * states[1] + i * g
    return (o * tf.tanh(c), c), (gates,)


def _lstm_slopes(kept: Tensors, before: Tensors, after: Tensors) -> Tensors:
    i, f, g, o = tf.split(kept[0], 4, axis=-1)
    tanh = tf.tanh(after[1])
    of_gates = [g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g * g), tanh * o * (1 - o)]
    return tf.concat(of_gates, axis=-1), o * (1 - tanh * tanh), f


def _lstm_back(slopes: Tensors, gradients: Tensors) -> tuple[tf.Tensor, Tensors]:
    of_gates, of_c, f = slopes
    dh, dc = gradients
    dc = dc + dh * of_c
    return tf.concat([dc, dc, dc, dh], axis=-1) * of_gates, (tf.zeros_like(dh), dc * f)


# === Gated recurrent unit: gates z, r, n, the reset after the product ===


def _gru_step(from_input: tf.Tensor, from_state: tf.Tensor, states: Tensors) -> tuple[Tensors, Tensors]:
    """Gives h' = z h + (1 − z) n with n = tanh(x_n + r s_n), x_n and s_n from input and state."""
    units = from_input.shape[-1] // 3
    (x_zr, x_n), (s_zr, s_n) = (tf.split(part, [2 * units, units], axis=-1) for part in (from_input, from_state))
    zr = tf.sigmoid(x_zr + s_zr)
    z, r = tf.split(zr, 2, axis=-1)
    n = tf.tanh(x_n + r * s_n)
    return (z * states[0] + (1 - z) * n,), (tf.concat([zr, n], axis=-1), s_n)


def _gru_slopes(kept: Tensors, before: Tensors, after: Tensors) -> Tensors:
    gates, s_n = kept
    z, r, n = tf.split(gates, 3, axis=-1)
    of_n = (1 - z) * (1 - n * n)
    return tf.concat([(before[0] - n) * z * (1 - z), of_n * s_n * r * (1 - r), of_n * r, of_n], axis=-1), z


def _gru_back(slopes: Tensors, gradients: Tensors) -> tuple[tf.Tensor, Tensors]:
    """Gives δ of z, r, s_n and x_n."""
    of_gates, z = slopes
    (dh,) = gradients
    return tf.concat([dh] * 4, axis=-1) * of_gates, (dh * z,)


def _gru_of_state(delta: tf.Tensor) -> tf.Tensor:
    return delta[..., : 3 * delta.shape[-1] // 4]


def _gru_of_input(delta: tf.Tensor) -> tf.Tensor:
    z, r, _, n = tf.split(delta, 4, axis=-1)
    return tf.concat([z, r, n], axis=-1)


# === Simple cell ===


def _simple_step(from_input: tf.Tensor, from_state: tf.Tensor, states: Tensors) -> tuple[Tensors, Tensors]:
    """Gives h' = tanh(x + s)."""
    h = tf.tanh(from_input + from_state)
    return (h,), (h,)


def _simple_slopes(kept: Tensors, before: Tensors, after: Tensors) -> Tensors:
    return (1 - kept[0] * kept[0],)


def _simple_back(slopes: Tensors, gradients: Tensors) -> tuple[tf.Tensor, Tensors]:
    (dh,) = gradients
    return dh * slopes[0], (tf.zeros_like(dh),)


_CELLS = {
    keras.layers.LSTM: Cell(_lstm_step, _lstm_slopes, _lstm_back),
    keras.layers.GRU: Cell(_gru_step, _gru_slopes, _gru_back, _gru_of_state, _gru_of_input),
    keras.layers.SimpleRNN: Cell(_simple_step, _simple_slopes, _simple_back),
}


# === All steps ===


class Weights(NamedTuple):
    """Of a layer.

    Args:
        kernel: `(features, gates × units)`.
        recurrent_kernel: `(units, gates × units)`.
        bias: Of the product with the input.
        state_biases: Of the product with the state: none, or one.
    """

    kernel: tf.Tensor
    recurrent_kernel: tf.Tensor
    bias: tf.Tensor
    state_biases: Tensors


def recurrence(
    cell: Cell,
    inputs: tf.Tensor,
    weights: Weights,
    states: Tensors,
    masks: Tensors,
    *,
    sequences: bool,
    trains: bool,
    alone: bool,
    gradients: list[str],
) -> tuple[Tensors, Tensors]:
    """Gives the outputs of all steps, `(batch, timesteps, units)`, or without `sequences` nothing, and the last states.

    Args:
        cell: One of the above.
        inputs: `(batch, timesteps, features)`.
        weights: Of the layer.
        states: Before the first step, `(batch, units)` each.
        masks: Which steps there are, `(batch, timesteps, 1)`: states stay as they are at others. Empty: all.
        sequences: Whether all outputs are asked for.
        trains: Whether there is a way back; without, nothing is kept for it.
        alone: Whether XLA compiles this in a graph that it does not compile.
        gradients: Takes the name under which TensorFlow keeps the backward pass, if this is traced.
    """
    parts = _parts() if alone else 1
    compiled = functools.partial(tf.function, autograph=False, jit_compile=True) if alone else lambda function: function
    forwards = compiled(functools.partial(_forwards, cell, sequences=sequences, trains=trains))
    backwards = compiled(functools.partial(_backwards, cell))
    masks_of_parts = _cut(masks, parts)

    def run(inputs: tf.Tensor, *others: Any) -> Any:
        flat_weights, states = others[: len(others) - count], others[len(others) - count :]
        weights = Weights(*flat_weights[:3], flat_weights[3:])
        inputs_of_parts, states_of_parts = _cut((inputs,), parts), _cut(states, parts)
        by_part = [
            forwards(*part, weights, *rest)
            for part, *rest in zip(inputs_of_parts, states_of_parts, masks_of_parts, strict=True)
        ]
        results = _join([(*outputs, *last) for outputs, last, _ in by_part])

        def gradient(*of_results: tf.Tensor) -> Tensors:
            found = [
                backwards(*part, weights.recurrent_kernel, *rest, kept, of_part)
                for part, *rest, (_, _, kept), of_part in zip(
                    inputs_of_parts, states_of_parts, masks_of_parts, by_part, _cut(of_results, parts), strict=True
                )
            ]
            of_inputs = _join([(_of_inputs(cell.of_input(deltas), weights.kernel),) for deltas, _, _ in found])
            products = [product for _, product, _ in found]
            of_weights = _of_weights(cell, tf.add_n(products), inputs.shape[-1], len(weights.state_biases))
            return *of_inputs, *of_weights, *_join([of_states for *_, of_states in found])

        return (results, gradient) if trains else results

    count = len(states)
    arguments = (inputs, *weights[:3], *weights.state_biases, *states)
    if not trains:
        results = run(*arguments)
    else:
        results = tf.custom_gradient(run)(*arguments)
        if not tf.executing_eagerly():
            gradients.append(results[0].op.get_attr("_gradient_op_type").decode())
    return tuple(results[:-count]), tuple(results[-count:])


# Halves, as has been measured on two cores.
_MOST_PARTS = 2


def _parts() -> int:
    """Gives how many parts of a batch run side by side: each is an operation."""
    threads = tf.config.threading.get_inter_op_parallelism_threads() or os.cpu_count() or 1
    return min(threads, _MOST_PARTS)


def _cut(tensors: Tensors, parts: int) -> list[Tensors]:
    """Gives parts of a batch, of each of `tensors`."""
    if parts == 1 or not tensors:
        return [tensors] * parts
    batch = tf.shape(tensors[0])[0]
    bounds = [batch * part // parts for part in range(parts + 1)]
    return [tuple(tensor[start:stop] for tensor in tensors) for start, stop in itertools.pairwise(bounds)]


def _join(parts: list[Tensors]) -> Tensors:
    """Gives each tensor of the whole batch."""
    return parts[0] if len(parts) == 1 else tuple(tf.concat(tensors, axis=0) for tensors in zip(*parts, strict=True))


def _of_inputs(deltas: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return _by_steps(_product(deltas, tf.transpose(kernel)))


def _of_weights(cell: Cell, product: tf.Tensor, features: int, state_biases: int) -> Tensors:
    """Gives the gradients of the weights, from the product of inputs, states and 1 with δ."""
    of_bias = product[-1]
    of_kernel, of_recurrent_kernel = cell.of_input(product[:features]), cell.of_state(product[features:-1])
    return of_kernel, of_recurrent_kernel, cell.of_input(of_bias), *([cell.of_state(of_bias)] * state_biases)


def _forwards(
    cell: Cell, inputs: tf.Tensor, weights: Weights, states: Tensors, masks: Tensors, *, sequences: bool, trains: bool
) -> tuple[Tensors, Tensors, tuple[Tensors, Tensors]]:
    """Gives outputs if asked for, the last states, and for the way back what was kept and the states of every step."""

    def step(inputs: Tensors, states: Tensors) -> tuple[Tensors, Tensors]:
        from_input, *mask = inputs
        from_state = tf.matmul(states[0], weights.recurrent_kernel)
        after, kept = cell.step(from_input, sum(weights.state_biases, from_state), states)
        after = _where(mask, after, states)
        return after, (*kept, *after) if trains else after[:1] if sequences else ()

    from_inputs = tf.nn.bias_add(_product(_by_steps(inputs), weights.kernel), weights.bias)
    last, every = _loop(step, (from_inputs, *map(_by_steps, masks)), states, in_place=trains)
    kept, after = every[: len(every) - len(states)], every[len(every) - len(states) :]
    outputs = (_by_steps(after[0] if trains else every[0]),) if sequences else ()
    return outputs, last, (kept, after)


def _backwards(
    cell: Cell,
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    states: Tensors,
    masks: Tensors,
    kept: tuple[Tensors, Tensors],
    of_results: Tensors,
) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
    """Gives δ of every step, its product with inputs, states and 1, and the gradients of the states at first."""
    gates, after = kept
    of_outputs, of_last = of_results[: len(of_results) - len(states)], of_results[len(of_results) - len(states) :]
    first_and_later = zip(states, after, strict=True)
    before = tuple(tf.concat([first[tf.newaxis], later[:-1]], axis=0) for first, later in first_and_later)
    slopes = cell.slopes(gates, before, after)
    transposed = tf.transpose(kernel)  # Once, not in every step.

    def step(inputs: Tensors, of_after: Tensors) -> tuple[Tensors, Tensors]:
        slopes_here, others = inputs[: len(slopes)], inputs[len(slopes) :]
        of_output, mask = others[: len(of_outputs)], others[len(of_outputs) :]
        of_after = (sum(of_output, of_after[0]), *of_after[1:])
        delta, (of_h, *of_others) = cell.back(slopes_here, of_after)
        of_h += tf.matmul(cell.of_state(delta), transposed)
        return _where(mask, (of_h, *of_others), of_after), _where(mask, (delta,), (tf.zeros_like(delta),))

    by_steps = (*slopes, *map(_by_steps, of_outputs), *map(_by_steps, masks))
    # Where a part of δ is left out of the product, XLA would copy all there is of it at every step.
    whole = cell.of_state(slopes[0]).shape == slopes[0].shape
    of_states, (deltas,) = _loop(step, by_steps, of_last, backwards=True, in_place=whole)
    inputs = _by_steps(inputs)
    seen = tf.concat([inputs, before[0], tf.ones_like(inputs[..., :1])], axis=-1)
    product = tf.matmul(_rows(seen), _rows(deltas), transpose_a=True)
    return deltas, product, of_states


def _where(mask: Sequence[tf.Tensor], these: Tensors, others: Tensors) -> Tensors:
    """Gives `these` where the mask, if there is one, says so, and `others` elsewhere."""
    return tuple(tf.where(mask[0], a, b) for a, b in zip(these, others, strict=True)) if mask else tuple(these)


def _loop(
    step: Callable[[Tensors, Tensors], tuple[Tensors, Tensors]],
    inputs: Tensors,
    states: Tensors,
    *,
    backwards: bool = False,
    in_place: bool = False,
) -> tuple[Tensors, Tensors]:
    """Gives the last states and all steps' results of `step(inputs, states)`, from the first to the last or back.

    With `in_place` the first result takes the place of the first input.
    """
    number = inputs[0].shape[0] or tf.shape(inputs[0])[0]
    first, towards = (number - 1, -1) if backwards else (0, 1)
    _, results = step(tuple(part[0] for part in inputs), states)  # Not used: what results are like.
    parts = [tf.TensorArray(part.dtype, number, clear_after_read=False).unstack(part) for part in inputs]
    arrays = [tf.TensorArray(part.dtype, number, element_shape=part.shape) for part in results]
    if in_place:
        arrays[0] = parts[0]

    def one(count: tf.Tensor, states: Tensors, arrays: Any) -> tuple[tf.Tensor, Tensors, Any]:
        place = first + towards * count
        sources = [arrays[0], *parts[1:]] if in_place else parts
        states, results = step(tuple(source.read(place) for source in sources), states)
        arrays = tuple(array.write(place, result) for array, result in zip(arrays, results, strict=True))
        return count + 1, states, arrays

    _, states, arrays = tf.while_loop(
        lambda count, *_: count < number, one, (tf.constant(0), states, tuple(arrays)), maximum_iterations=number
    )
    return states, tuple(array.stack() for array in arrays)


def _product(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Gives what `tf.tensordot(inputs, kernel, 1)` does, of known shape."""
    timesteps, batch, _ = tf.unstack(tf.shape(inputs))
    return tf.reshape(tf.matmul(_rows(inputs), kernel), (inputs.shape[0] or timesteps, batch, kernel.shape[-1]))


def _rows(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, (-1, tensor.shape[-1]))


def _by_steps(tensor: tf.Tensor) -> tf.Tensor:
    """Gives `(batch, timesteps, …)` as `(timesteps, batch, …)`, or the other way round."""
    return tf.transpose(tensor, (1, 0, 2))


# === In a layer ===


@contextlib.contextmanager
def own_backward_passes(model: keras.Model, xla: bool, alone: bool = False) -> Iterator[None]:
    """Has the recurrent layers of `model` run as above in what is traced meanwhile; then they are as before.

    With `xla` XLA compiles them in the model; with `alone` just them. Not where there is a GPU, for which cuDNN has
    kernels. An evaluation within a `fit` finds that done.
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


# Steps times units of all layers: from so many on two halves side by side save more than the graph around them, that
# XLA does not compile then, costs.
_LONG = 8000


def pays_in_parts(model: keras.Model, steps: int) -> bool:
    """Says whether XLA had better compile the recurrent layers of `model` alone, where sequences have so many steps."""
    layers = [layer for layer in model._flatten_layers() if _is_usual(layer)]
    return steps * sum(layer.units for layer in layers) >= _LONG and not tf.config.get_visible_devices("GPU")


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
    # In a model that XLA compiles Keras' loop keeps nothing for a way back either. Alone, XLA would compile anew for
    # every number of steps, and, where nothing is traced, at every step.
    if (sequences.shape[1] is None or tf.executing_eagerly()) if alone else not training:
        return keras_loop(sequences, initial_state, mask=mask, training=training)
    cell = layer.cell
    kernel, recurrent_kernel, bias = map(tf.convert_to_tensor, (cell.kernel, cell.recurrent_kernel, cell.bias))
    of_input, *of_state = tf.unstack(bias) if bias.shape.rank == 2 else (bias,)  # A GRU has a second one.
    masks = () if mask is None else (_mask(keras.tree.flatten(mask)[0]),)
    if layer.go_backwards:
        sequences, *masks = (tf.reverse(tensor, [1]) for tensor in (sequences, *masks))
    outputs, states = recurrence(
        _CELLS[type(layer)],
        sequences,
        Weights(kernel, recurrent_kernel, of_input, tuple(of_state)),
        tuple(keras.tree.flatten(initial_state)),
        tuple(masks),
        sequences=layer.return_sequences,
        trains=bool(training),
        alone=alone,
        gradients=gradients,
    )
    last = states[0]
    if masks:  # As Keras has it: before the first step there is there are none, afterwards the last again.
        shown = masks[0] if layer.zero_output_for_mask else tf.cumsum(tf.cast(masks[0], tf.int32), axis=1) > 0
        outputs = tuple(tf.where(shown, part, tf.zeros_like(part)) for part in outputs)
        last = tf.where(shown[:, -1], last, tf.zeros_like(last))
    return last, outputs[0] if outputs else last[:, tf.newaxis], list(states)


def _mask(mask: tf.Tensor) -> tf.Tensor:
    """Gives a mask of `(batch, timesteps)` or `(batch, timesteps, 1)` as the second."""
    mask = tf.cast(mask, tf.bool)
    return mask if mask.shape.rank == 3 else mask[..., tf.newaxis]
