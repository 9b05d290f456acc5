"""Agents of a policy, and perhaps of a network of values beside it: how both are compiled, asked and saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kphys.agents._acting import forward_pass
from kphys.agents._agent import Agent
from kphys.agents._networks import check_network
from kphys.models._optimizer_pair import OptimizerPair, with_scaling

Optimizer = str | keras.optimizers.Optimizer


class PolicyAgent(Agent):
    """An agent with `policy`, from observations to probabilities, and `value_network` or `None`."""

    @property
    def policy_network(self) -> keras.Model:
        """The network that chooses actions, `policy`."""
        return self.policy

    @property
    def num_actions(self) -> int:
        """The number of actions."""
        return max(self.policy.output_shape[-1], 2)

    @property
    def _is_logistic(self) -> bool:
        return self.policy.output_shape[-1] == 1

    # === Playing ===

    def _probabilities(self) -> Callable[[np.ndarray], np.ndarray]:
        """Gives the function from observations to the probabilities of all actions, with the weights of now."""
        forward = self._forward()
        if not self._is_logistic:
            return forward

        def of_both(observations: np.ndarray) -> np.ndarray:
            second = forward(observations)
            return np.concatenate([1 - second, second], axis=1)

        return of_both

    def _best(self, forward: Any, observations: np.ndarray) -> np.ndarray:
        outputs = forward(observations)
        return (outputs[:, 0] > 0.5).astype(int) if self._is_logistic else outputs.argmax(axis=-1)

    def _values(self, observations: np.ndarray) -> np.ndarray:
        if "_values_now" not in vars(self):
            vars(self)["_values_now"] = forward_pass(self.value_network)
        return vars(self)["_values_now"]()(observations)[:, 0].astype("float64")

    # === Training ===

    def compile(
        self,
        optimizer: Optimizer = "adam",
        value_optimizer: Optimizer | None = None,
        *,
        run_eagerly: bool = False,
        jit_compile: bool | str = False,
    ) -> None:
        """Sets how the networks are trained.

        Args:
            optimizer: Any Keras optimizer, by name or as an object, for the policy.
            value_optimizer: Another one, for the value network; to be given where there is one.
            run_eagerly, jit_compile: As in `keras.Model.compile`. XLA compiles anew for every number of steps that the
                episodes of an update have together.
        """
        wanted = self.value_network is not None
        if (value_optimizer is not None) != wanted:
            reason = "given: there is a value network" if wanted else "None: there is no value network"
            raise ValueError(f"`value_optimizer` must be {reason}.")
        if value_optimizer is optimizer and not isinstance(optimizer, str):
            raise ValueError(
                "`value_optimizer` must be another object than `optimizer`, as each keeps the state of its own "
                "network: make a second one."
            )
        self._execution_settings = {"run_eagerly": run_eagerly, "jit_compile": jit_compile}
        super().compile(None, **self._execution_settings)
        policy_optimizer = self._made_ready(optimizer, self.policy)
        if not wanted:
            self.optimizer = policy_optimizer
            return
        self.policy_optimizer = policy_optimizer
        self.value_optimizer = self._made_ready(value_optimizer, self.value_network)
        self.optimizer = OptimizerPair(self.policy_optimizer, self.value_optimizer)

    def _made_ready(self, optimizer: Optimizer, network: keras.Model) -> keras.optimizers.Optimizer:
        optimizer = keras.optimizers.get(optimizer)
        if self.dtype_policy.name == "mixed_float16":
            optimizer = with_scaling(optimizer)
        optimizer.build(network.trainable_variables)  # Its state is saved from the start.
        return optimizer

    def get_compile_config(self) -> dict[str, Any] | None:
        """Gives what the model was compiled with."""
        if not self.compiled:
            return None
        both = self.value_network is not None
        optimizers = {
            "optimizer": self.policy_optimizer if both else self.optimizer,
            "value_optimizer": self.value_optimizer if both else None,
        }
        return keras.saving.serialize_keras_object({**optimizers, **self._execution_settings})

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles with what `get_compile_config` gave."""
        self.compile(**keras.saving.deserialize_keras_object(config))


def check_policy(policy: Any) -> None:
    """Raises an error unless `policy` is a model from observations to probabilities; logits are none."""
    check_network("policy", policy, "(batch, num_actions) probabilities")
    shape = (32, *policy.input_shape[1:])
    generator = np.random.default_rng(0)
    images = len(shape) == 4
    samples = generator.integers(256, size=shape, dtype="uint8") if images else 10 * generator.normal(size=shape)
    outputs = keras.ops.convert_to_numpy(policy(samples)).astype("float64")
    single = outputs.shape[1] == 1
    sums = np.ones(1) if single else outputs.sum(axis=1)
    if outputs.min() < 0 or outputs.max() > 1 or not np.allclose(sums, 1, atol=1e-2):
        activation = "sigmoid" if single else "softmax"
        raise ValueError(
            f"`policy` must give probabilities, and these are none: {outputs[0]}. End it with "
            f'activation="{activation}".'
        )


def checked_value_network(network: Any, policy: keras.Model, baseline: str | None) -> keras.Model | None:
    """Gives the network of a learnt baseline back, if it goes with the policy; `None` where nothing is learnt."""
    if baseline != "value":
        if network is not None:
            raise ValueError(
                f'`value_network` must be None with baseline={baseline!r}: it belongs to baseline="value".'
            )
        return None
    check_network("value_network", network, "(batch, 1) values")
    shapes = network.input_shape, network.output_shape[-1]
    if shapes != (policy.input_shape, 1):
        raise ValueError(
            f"`value_network` must go from {policy.input_shape}, as `policy`, to (None, 1), got one from {shapes[0]} "
            f"to {network.output_shape}."
        )
    return network
