"""Deep Q-learning: targets, steps and values against exact answers, then how it plays, remembers and is kept."""

import contextlib
import functools

import gymnasium
import keras
import numpy as np
import pytest
from agent_worlds import EPISODE, Counting, Film, Line, Table
from gymnasium.envs.classic_control import CartPoleEnv
from new_process import run_python, saved_arrays

from kphys import records, reinforce
from kphys.agents import q_learning
from kphys.agents._acting import forward_pass
from kphys.agents._play import Play
from kphys.agents._worlds import open_worlds
from kphys.agents.q_learning import DQN, Dueling, dqn
from kphys.agents.tabular import q_value_iteration
from kphys.callbacks import EarlyStopping, GradientClipping, LearningRateFinder, TrainingRecord

PLAIN = {
    "delta": 1.0,
    "n_step": 1,
    "batch_size": 64,
    "train_period": 256,
    "gradient_steps": 128,
    "target_update_period": 10,
}
QUICK = {
    "n_step": 1,
    "batch_size": 64,
    "target_update_period": 10,
    "hidden_units": (8,),
    "learning_starts": 40,
    "train_period": 8,
    "gradient_steps": 4,
    "exploration_steps": 100,
}


def quick(shape=2, actions=2, **options):
    agent = dqn(shape, actions, **{**QUICK, "seed": 3, **options})
    agent.jit_compile = False  # Compiling takes longer than it saves here.
    return agent


def linear(features, actions, **options):
    """Q(s, a) = W s, of SGD."""
    inputs = keras.Input((features,))
    network = keras.Model(inputs, keras.layers.Dense(actions, use_bias=False)(inputs))
    agent = DQN(network, **{**PLAIN, "seed": 0, **options})
    agent.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return agent


# === Exact answers ===


@pytest.mark.parametrize(("double", "delta"), [(False, 1.0), (True, 1.0), (True, 2.5)])
def test_a_gradient_step_is_that_by_hand(double, delta):
    generator = np.random.default_rng(0)
    agent = linear(3, 2, double=double, delta=delta)
    w, w_target = (generator.normal(size=(3, 2)).astype("float32") for _ in range(2))
    agent.q_network.set_weights([w])
    agent.target_network.set_weights([w_target])
    s, following = (generator.normal(size=(6, 3)).astype("float32") for _ in range(2))
    actions = np.array([0, 1, 1, 0, 1, 0], "int32")
    rewards = np.array([0.1, -0.2, 5.0, -7.0, 0.3, 0.0], "float32")  # Two beyond Huber's δ.
    discounts = np.array([0.9, 0.0, 0.9, 0.81, 0.0, 0.9], "float32")  # Terminated, and cut off.
    weights = np.array([1.0, 0.5, 1.0, 0.2, 1.0, 0.7], "float32")
    batch = {"observations": s, "actions": actions, "rewards": rewards, "discounts": discounts, "weights": weights}
    several = {name: array[None] for name, array in {**batch, "next_observations": following}.items()}
    loss, q_mean, td_errors = agent.make_train_function()(several)

    best = (following @ (w if double else w_target)).argmax(axis=1)
    targets = rewards + discounts * (following @ w_target)[np.arange(6), best]
    q = (s @ w)[np.arange(6), actions]
    # dHuber/dq is the error, cut at ±δ; the mean is over the batch.
    slopes = np.clip(q - targets, -delta, delta) * weights / 6
    gradient = np.stack([(slopes * (actions == action)) @ s for action in (0, 1)], axis=1)
    np.testing.assert_allclose(agent.q_network.get_weights()[0], w - 0.1 * gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(td_errors[0], targets - q, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(q_mean, q.mean(), rtol=1e-5)
    errors = np.abs(targets - q)
    huber = np.where(errors <= delta, errors**2 / 2, delta * (errors - delta / 2))
    np.testing.assert_allclose(loss, (huber * weights).mean(), rtol=1e-5)
    np.testing.assert_array_equal(agent.target_network.get_weights()[0], w_target)


def test_many_steps_in_one_call_are_as_many_by_themselves():
    one, other = (linear(3, 2) for _ in range(2))
    other.set_weights(one.get_weights())
    generator = np.random.default_rng(1)
    batches = {
        "observations": generator.normal(size=(5, 4, 3)).astype("float32"),
        "actions": generator.integers(2, size=(5, 4)).astype("int32"),
        "rewards": generator.normal(size=(5, 4)).astype("float32"),
        "discounts": np.full((5, 4), 0.9, "float32"),
        "next_observations": generator.normal(size=(5, 4, 3)).astype("float32"),
        "weights": np.ones((5, 4), "float32"),
    }
    loss, q_mean, td_errors = one.make_train_function()(batches)
    judged = other.target_network(batches["next_observations"].reshape(20, 3)).numpy().reshape(5, 4, 2)
    batches = {**batches, "next_q": judged}
    logs = [other.train_step({name: array[step] for name, array in batches.items()}) for step in range(5)]
    np.testing.assert_allclose(one.get_weights()[0], other.get_weights()[0], rtol=1e-6)
    np.testing.assert_allclose(loss, np.mean([entry["loss"] for entry in logs]), rtol=1e-5)
    np.testing.assert_allclose(q_mean, np.mean([entry["q_mean"] for entry in logs]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(td_errors, [entry["td_errors"] for entry in logs], rtol=1e-5)


CHAIN = np.zeros((4, 2, 4))  # To the left and to the right; from the last state on to the first.
for _state in range(4):
    CHAIN[_state, 0, max(_state - 1, 0)] = CHAIN[_state, 1, (_state + 1) % 4] = 1
REWARDS = np.zeros((4, 2, 4))
REWARDS[3, 1, 0], REWARDS[0, 0, 0] = 1.0, 0.2


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    "options", [{}, {"double": False}, {"n_step": 3}, {"prioritized": True, "importance_exponent": 1.0}, {"tau": 0.2}]
)
def test_values_of_a_small_world_are_those_of_value_iteration(options):
    """Episodes are cut off after 7 steps: only targets that go on through the cut give these values.

    With 3 steps the actions that follow must be the best ones: there it plays greedily, nearly always.
    """
    explored = {"epsilon_end": 0.05 if "n_step" in options else 1.0, "exploration_steps": 1_000}
    agent = linear(4, 2, **{"discount": 0.8, "learning_starts": 100, "train_period": 20, **explored, **options})
    agent.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=False)
    agent.fit(Table(CHAIN, REWARDS), steps_per_epoch=3_000, verbose=0)
    agent.optimizer.learning_rate = 0.001
    agent.fit(Table(CHAIN, REWARDS), steps_per_epoch=1_000, verbose=0)
    exact = q_value_iteration(CHAIN, REWARDS, 0.8)
    exact = exact.q_values
    found = agent.predict(np.eye(4), verbose=0)
    if "n_step" not in options:
        np.testing.assert_allclose(found, exact, atol=1e-2)
    np.testing.assert_array_equal(found.argmax(axis=1), exact.argmax(axis=1))


def test_nothing_comes_after_a_terminal_state():
    agent = linear(4, 2, discount=0.8, learning_starts=100, train_period=20, epsilon_end=1.0)
    agent.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=False)
    to_the_right = CHAIN.copy()
    to_the_right[3] = 0
    to_the_right[3, :, 3] = 1  # Terminal.
    rewards = np.zeros((4, 2, 4))
    rewards[2, 1, 3] = 1.0
    agent.fit(Table(to_the_right, rewards, length=30, terminal=3), steps_per_epoch=3_000, verbose=0)
    exact = np.array([[0.64 * 0.8, 0.64], [0.64 * 0.8, 0.8], [0.64, 1.0]])
    np.testing.assert_allclose(agent.predict(np.eye(4), verbose=0)[:3], exact, atol=1e-2)


@pytest.mark.parametrize(("tau", "period"), [(1.0, 8), (0.1, 8), (0.1, 2)])
def test_the_target_follows_as_asked(tau, period):
    """The network stands still while steps are made: updates from it can be counted."""
    agent = linear(2, 3, tau=tau, target_update_period=period, train_period=8, learning_starts=10_000)
    agent.q_network.set_weights([np.ones((2, 3))])
    agent.target_network.set_weights([np.zeros((2, 3))])
    agent.fit(Counting(), steps_per_epoch=24, verbose=0)
    expected = 1 - (1 - tau) ** (24 // period)
    np.testing.assert_allclose(agent.target_network.get_weights()[0], np.full((2, 3), expected), rtol=1e-6)


def test_the_target_begins_as_the_network_normalization_included():
    agent = DQN(normalized_network())
    x = np.random.default_rng(1).normal(3, 2, size=(4, 5))
    np.testing.assert_array_equal(agent.target_network.predict(x, verbose=0), agent.predict(x, verbose=0))


def test_exploration_falls_linearly():
    agent = quick(
        shape=2, actions=3, epsilon_start=0.8, epsilon_end=0.2, exploration_steps=1_000, learning_starts=9_999
    )
    agent.q_network.set_weights([np.zeros_like(weight) for weight in agent.q_network.get_weights()])
    assert agent.epsilon == 0.8
    history = agent.fit(Counting(length=50), epochs=2, steps_per_epoch=1_000, verbose=0).history
    assert agent.epsilon == 0.2
    actions = agent.replay.state()["actions"][agent.replay.state()["ages"] < 50]
    # All values are equal: the best action is the first. Others are two thirds of the random ones.
    first, second = (actions[:1_000] > 0).mean(), (actions[1_000:2_000] > 0).mean()
    assert abs(first - 0.5 * 2 / 3) < 4 * 0.015
    assert abs(second - 0.2 * 2 / 3) < 4 * 0.011
    assert history["epsilon"][1] == pytest.approx(0.2)
    assert np.isnan(history["loss"]).all()


# === Playing ===


def normalized_network():
    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(2, 3, size=(50, 5)))
    return dqn(5, 3, hidden_units=(7, 6), normalization=normalization, seed=0).q_network


def nested_network():
    inner = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "sigmoid"), keras.layers.Dropout(0.5)])
    return keras.Sequential([keras.Input((5,)), inner, keras.layers.Dense(3, "softmax", use_bias=False)])


def branched_network():
    inputs = keras.Input((5,))
    both = keras.layers.Concatenate()([keras.layers.Dense(4, "relu")(inputs), inputs])
    return keras.Model(inputs, keras.layers.Dense(3)(both))


@pytest.mark.parametrize(
    "make",
    [
        normalized_network,
        lambda: dqn(5, 3, hidden_units=(7, 6), dueling=True, seed=0).q_network,
        lambda: dqn(5, 3, hidden_units=7, activation="tanh", dueling=True, seed=0).q_network,
        lambda: dqn(5, 3, hidden_units=7, activation="selu", seed=0).q_network,  # One compiled call.
        nested_network,
        branched_network,
    ],
)
def test_it_acts_by_what_the_network_says(make):
    network = make()
    observations = np.random.default_rng(1).normal(size=(20, 5)).astype("float32")
    kept = observations.copy()
    network.set_weights([weight + np.ones_like(weight) / 10 for weight in network.get_weights()])  # Biases, too.
    forward = forward_pass(network)
    expected = network.predict(observations, verbose=0)
    np.testing.assert_allclose(forward()(observations), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(observations, kept)
    network.set_weights([2 * weight for weight in network.get_weights()])
    np.testing.assert_allclose(forward()(observations), network.predict(observations, verbose=0), rtol=1e-5, atol=1e-6)


def test_images_go_through_one_compiled_call():
    agent = dqn((6, 6, 1), 2, hidden_units=4, seed=0)
    images = np.random.default_rng(1).integers(256, size=(5, 6, 6, 1)).astype("uint8")
    np.testing.assert_allclose(agent._forward()(images), agent.predict(images, verbose=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(agent.predict(images, verbose=0)[0].max(), agent(images[:1]).numpy().max(), rtol=1e-5)
    assert agent.act(images[0]) == agent.act(images[0, ..., 0]) == agent(images[:1]).numpy().argmax()


def test_the_dueling_head_is_value_and_advantages_without_their_mean():
    head = Dueling(3, seed=0)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    q = head(x).numpy()
    assert [weight.shape for weight in head.get_weights()] == [(5, 1), (1,), (5, 3), (3,)]
    value, advantages = x @ head.get_weights()[0], x @ head.get_weights()[2]
    np.testing.assert_allclose(q, value + advantages - advantages.mean(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(q.mean(axis=1), value[:, 0], rtol=1e-5, atol=1e-6)


def vectors(mode):
    return gymnasium.vector.SyncVectorEnv([Counting, lambda: Counting(3)], autoreset_mode=mode)


@pytest.mark.parametrize("mode", list(gymnasium.vector.AutoresetMode))
def test_what_is_remembered_belongs_together_however_episodes_begin(mode):
    agent = quick(2, 3, learning_starts=10_000)
    history = agent.fit(vectors(mode), steps_per_epoch=120, verbose=0).history
    drawn = agent.replay.sample(1, 3_000, np.random.default_rng(0))
    now, following = drawn["observations"][0], drawn["next_observations"][0]
    np.testing.assert_array_equal(now[:, 0], following[:, 0])  # Of one episode.
    np.testing.assert_array_equal(now[:, 1] + 1, following[:, 1])
    assert set(following[:, 1]) == {1, 2, 3, 4, 5}
    assert (drawn["discounts"] == np.float32(0.99)).all()
    assert 3 < history["episode_length"][0] < 5
    assert history["episode_return"] == history["episode_length"]


def test_environments_begin_with_seeds_of_the_agent():
    seen = []
    for _ in range(2):
        agent = quick(2, 3)
        agent.fit(Counting(), steps_per_epoch=30, verbose=0)
        agent.fit(Counting(), steps_per_epoch=30, verbose=0)
        seen.append(agent.replay.state()["observations"][:, 0])
    np.testing.assert_array_equal(*seen)
    assert len(set(seen[0])) == 12  # Never the same episode twice.


def test_stacks_of_frames_are_those_of_gymnasium():
    wrapped = gymnasium.wrappers.FrameStackObservation(Film(), 3)
    worlds = open_worlds("environment", Film(), 1, (6, 6, 3), 2, frame_stack=3)
    play = Play(worlds, lambda copy: 0, 3)
    observation, _ = wrapped.reset(seed=0)
    for _ in range(12):
        np.testing.assert_array_equal(play.observations[0], np.moveaxis(observation, 0, -1))
        play.step(np.zeros(1, int))
        observation, _, _, over, _ = wrapped.step(0)
        observation = wrapped.reset(seed=0)[0] if over else observation
    agent = quick((6, 6, 3), 2, frame_stack=3, replay_capacity=100)
    agent.fit(Film(), steps_per_epoch=60, verbose=0)
    assert agent.replay.observation_shape == (6, 6, 1)
    assert agent.replay.state()["observations"].dtype == np.uint8
    drawn = agent.replay.sample(1, 50, np.random.default_rng(0))["observations"][0, :, 0, 0].astype(int)
    times = drawn % 100 // 10
    np.testing.assert_array_equal(times, np.maximum(times[:, 2:] - [2, 1, 0], 0))


def test_actions_and_states_may_begin_elsewhere():
    class Shifted(Table):
        def __init__(self):
            super().__init__(CHAIN, REWARDS)
            self.observation_space = gymnasium.spaces.Discrete(4, start=5)
            self.action_space = gymnasium.spaces.Discrete(2, start=-1)

        def reset(self, **given):
            state, info = super().reset(**given)
            return state + 5, info

        def step(self, action):
            assert action in (-1, 0)
            state, *others = super().step(action + 1)
            return state + 5, *others

    agent = quick(4, 2)
    agent.fit(Shifted(), steps_per_epoch=60, verbose=0)
    np.testing.assert_array_equal(agent.replay.sample(1, 30, np.random.default_rng(0))["observations"].sum(axis=-1), 1)
    assert agent.act([0, 1, 0, 0]) == agent.act(1) == agent.act(np.eye(4))[1]
    with pytest.raises(ValueError, match="`observation` must be a state from 0 to 3, got 4"):
        agent.act(4)


def test_evaluation_is_the_same_however_often_and_however_many_copies():
    agent = quick()
    first = agent.evaluate(Line(), episodes=6, seed=1)
    copies = gymnasium.vector.SyncVectorEnv([Line] * 4, autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED)
    assert agent.evaluate(Line(), episodes=6, seed=1) == first
    np.testing.assert_allclose(agent.evaluate(copies, episodes=6, seed=1), first)
    assert agent.evaluate(Line(), episodes=6, seed=2) != first
    assert first.error > 0 > first.mean


def test_the_mean_and_its_error_are_those_of_the_returns():
    numbers = iter([1.0, 0.0, 4.0, 0.0, 7.0, 0.0, 100.0])
    environment = Counting(length=2, reward=lambda time, action: next(numbers))
    mean, error = quick(2, 3).evaluate(environment, episodes=3)
    assert mean == pytest.approx(4)
    assert error == pytest.approx(np.std([1, 4, 7], ddof=1) / np.sqrt(3))


def test_a_film_is_written(tmp_path):
    from PIL import Image

    agent = quick((6, 6, 1), 2)
    agent.q_network.layers[-1].set_weights([np.zeros((8, 2)), np.array([0.0, 1.0])])
    assert agent.record_video(Film(render_mode="rgb_array"), tmp_path / "film.gif") == 5
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (24, 24)
        assert film.n_frames == 6
        film.seek(5)
        assert abs(np.asarray(film.convert("RGB"))[5, 5, 0] - 50) < 10
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]
    with pytest.raises(ValueError, match=r"must end in \.gif or \.mp4"):
        agent.record_video(Film(render_mode="rgb_array"), tmp_path / "film.avi")
    with pytest.raises(ValueError, match="render_mode='rgb_array'"):
        agent.record_video(Film(), tmp_path / "other.gif")


# === The promises of the house ===


RESUMED = [
    {},
    {"prioritized": True, "n_step": 2, "dueling": True, "tau": 0.1, "optimizer": "sgd", "learning_rate": 0.01},
]


def trained(options, *, upto=3):
    agent = dqn(2, 2, **{**QUICK, "seed": 3, **options})
    agent.jit_compile = False
    agent.fit(Line(), epochs=upto, steps_per_epoch=100, verbose=0)
    return agent


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [pytest.param(RESUMED[0], marks=pytest.mark.slow), RESUMED[1]], ids=["plain", "all"]
)
def test_resumed_in_a_new_process_is_as_if_nothing_had_happened(options, tmp_path):
    """Episodes of 20 steps, epochs of 100: interrupted where an episode ends."""
    whole, part = trained(options), trained(options, upto=2)
    part.save(tmp_path / "agent.keras")
    code = [
        "import sys, pathlib, keras, numpy as np, kphys",
        "from agent_worlds import Line",
        "folder, options = pathlib.Path(sys.argv[1]), eval(sys.argv[2])",
        f"built = kphys.dqn(2, 2, **{{**{QUICK!r}, 'seed': 3, **options}})",
        "np.savez(folder / 'built.npz', *built.get_weights())",
        "agent = keras.models.load_model(folder / 'agent.keras')",
        "agent.jit_compile = False",
        "np.savez(folder / 'q.npz', agent.predict(np.ones((1, 2)), verbose=0))",
        "agent.fit(Line(), epochs=3, initial_epoch=2, steps_per_epoch=100, verbose=0)",
        "np.savez(folder / 'resumed.npz', *agent.get_weights(), agent.num_updates, agent.replay.state()['rewards'])",
    ]
    run_python("-c", "\n".join(code), tmp_path, options, PYTHONPATH="tests")
    expected = [*whole.get_weights(), whole.num_updates, whole.replay.state()["rewards"]]
    for a, b in zip(expected, saved_arrays(tmp_path / "resumed.npz"), strict=True):
        np.testing.assert_array_equal(a, b)
    fresh = dqn(2, 2, **{**QUICK, "seed": 3, **options}).get_weights()
    for a, b in zip(fresh, saved_arrays(tmp_path / "built.npz"), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(part.predict(np.ones((1, 2)), verbose=0), *saved_arrays(tmp_path / "q.npz"))


def test_a_file_without_the_memory_is_small_and_begins_an_empty_one(tmp_path):
    with_memory, without = trained({}), trained({"save_replay": False})
    for name, agent in (("with", with_memory), ("without", without)):
        agent.save(tmp_path / f"{name}.keras")
    loaded = keras.models.load_model(tmp_path / "without.keras")
    assert loaded.replay is None
    assert (loaded.num_steps, loaded.num_updates) == (300, without.num_updates)
    assert len(keras.models.load_model(tmp_path / "with.keras").replay) == 300
    loaded.fit(Line(), steps_per_epoch=40, verbose=0)
    assert len(loaded.replay) == 40


def test_a_killed_fit_goes_on_from_its_backup(tmp_path):
    class Killed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError

    agent = quick()
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(RuntimeError):
        agent.fit(Line(), epochs=3, steps_per_epoch=100, callbacks=[backup, Killed()], verbose=0)
    resumed = quick()
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    history = resumed.fit(Line(), epochs=3, steps_per_epoch=100, callbacks=[backup], verbose=0)
    assert history.epoch == [2]
    for a, b in zip(trained({}).get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_works_with_the_callbacks_and_compiles_again(tmp_path):
    agent = quick(global_clipnorm=None)
    agent.compile(keras.optimizers.SGD(1e-3), "mse")
    agent.jit_compile = False
    calls = []
    callbacks = [
        GradientClipping(global_norm=0.5),
        EarlyStopping(monitor="val_episode_return", patience=5),
        keras.callbacks.ModelCheckpoint(tmp_path / "agent.keras", monitor="episode_return", mode="max"),
        keras.callbacks.TensorBoard(tmp_path / "logs", histogram_freq=1),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: calls.append((batch, dict(logs)))),
    ]
    history = agent.fit(
        Line(), epochs=2, steps_per_epoch=80, callbacks=callbacks, validation_data=Line(), verbose=0
    ).history
    assert len(calls) == 20
    assert calls[-1][0] == 9
    assert set(calls[-1][1]) == {"episode_return", "episode_length", "loss", "q_mean", "epsilon"}
    expected = {"gradient_norm", "clipped_fraction", "steps_per_second", "val_episode_return"}
    assert expected < set(history)
    assert all(len(values) == 2 for values in history.values())
    assert 0 < history["clipped_fraction"][1] <= 1
    assert (tmp_path / "agent.keras").exists()
    assert any((tmp_path / "logs" / "train").iterdir())


def test_what_an_agent_cannot_know_yet_ends_no_training():
    stops = [EarlyStopping(name, patience=9, mode="min") for name in ("episode_return", "loss", "gradient_norm")]
    clip = GradientClipping(global_norm=1.0)
    agent = dqn(2, 2, **{**QUICK, "learning_starts": 80, "global_clipnorm": None, "seed": 0})
    agent.jit_compile = False
    history = agent.fit(Line(), epochs=10, steps_per_epoch=10, verbose=0, callbacks=[clip, *stops]).history
    assert [stop.stop_reason for stop in stops] == [None, None, None]
    assert np.isnan(history["episode_return"]).tolist() == [True] + 9 * [False]
    assert np.isnan(history["loss"]).tolist() == 7 * [True] + 3 * [False]
    assert np.isnan(history["gradient_norm"]).tolist() == 7 * [True] + 3 * [False]
    assert not any(history["skipped_steps"])


def test_a_loss_that_an_agent_knows_and_is_not_finite_ends_it():
    stop = EarlyStopping("loss", patience=9)
    agent = dqn(2, 2, **{**QUICK, "learning_starts": 20, "learning_rate": 1e30, "optimizer": "sgd", "seed": 0})
    agent.jit_compile = False
    agent.fit(Line(), epochs=10, steps_per_epoch=20, verbose=0, callbacks=[stop])
    assert stop.stop_reason == "diverged"


def test_it_is_not_evaluated_where_it_learns():
    world = Line()
    for validation in (world, gymnasium.wrappers.TimeLimit(world, 3)):
        with pytest.raises(ValueError, match="`validation_data` must be another environment than `environment`"):
            dqn(2, 2, hidden_units=2).fit(world, validation_data=validation)


def test_a_search_for_the_learning_rate_is_refused():
    with pytest.raises(ValueError, match="LearningRateFinder cannot put an agent back"):
        dqn(2, 2, hidden_units=2).fit(Line(), verbose=0, callbacks=[LearningRateFinder()])


def test_a_record_says_where_it_played(tmp_path):
    world = gymnasium.make("CartPole-v1", max_episode_steps=9)
    dqn(4, 2, hidden_units=2).fit(world, steps_per_epoch=10, verbose=0, callbacks=[TrainingRecord(tmp_path)])
    config = records.read(tmp_path).config
    played = config["fit"]["environment"]
    assert played["id"] == "CartPole-v1"
    assert config["versions"]["gymnasium"] == gymnasium.__version__


@pytest.mark.parametrize("make", [dqn, reinforce])
@pytest.mark.parametrize("episode", [0, 1])
def test_stops_at_a_first_observation_that_is_not_finite(make, episode):
    class Broken(Line):
        episodes = 0

        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed)
            self.episodes += 1
            return observation * (np.nan if self.episodes > episode else 1), info

    with pytest.raises(FloatingPointError, match="began an episode with an observation that is not finite"):
        make(2, 2, hidden_units=2).fit(Broken(), steps_per_epoch=3 * EPISODE, verbose=0)


def test_ctrl_c_leaves_an_agent_that_goes_on():
    class Interrupted(Line):
        def step(self, action):
            if self.np_random.random() < 0.02:
                raise KeyboardInterrupt
            return super().step(action)

    agent = quick()
    with pytest.raises(KeyboardInterrupt):
        agent.fit(Interrupted(), epochs=50, steps_per_epoch=100, verbose=0)
    agent.evaluate(Line(), 2)
    before = len(agent.replay)
    agent.fit(Line(), steps_per_epoch=100, verbose=0)
    assert len(agent.replay) == before + 100


def test_the_progress_bar_counts_rounds(capsys):
    quick().fit(Line(), steps_per_epoch=80, verbose=1)
    shown = capsys.readouterr().out
    assert "10/10" in shown
    assert "episode_return" in shown


# === Bad input ===


class Continuous(Line):
    action_space = gymnasium.spaces.Box(-1, 1, (1,))


class Words(Line):
    observation_space = gymnasium.spaces.Text(5)


class FloatImages(Film):
    observation_space = gymnasium.spaces.Box(0, 1, (6, 6))


@pytest.mark.parametrize(
    ("environment", "options", "error", "message"),
    [
        (Continuous(), {}, ValueError, "`environment` must have discrete actions, got Box"),
        (Words(), {}, ValueError, "`environment` must show arrays or discrete states, got Text"),
        (Counting(), {}, ValueError, "`environment` has 3 actions, and this agent was built for 2"),
        (Film(), {}, ValueError, r"shows observations of shape \(6, 6\), and this agent was built for \(2,\)"),
        (None, {}, TypeError, "`environment` must be a Gymnasium environment, .* got NoneType"),
        (np.ones((3, 2)), {}, TypeError, "got ndarray"),
        ("CartPoel-v1", {}, ValueError, "must be the name of a registered environment, got 'CartPoel-v1'.*CartPole"),
        (Line(), {"steps_per_epoch": 0}, ValueError, "`steps_per_epoch` must be a positive integer, got 0"),
        (Line(), {"epochs": 0}, ValueError, "`epochs` must be a positive integer"),
        (Line(), {"validation_data": Counting()}, ValueError, "`validation_data` has 3 actions"),
        (Line(), {"validation_episodes": 0}, ValueError, "`validation_episodes` must be"),
    ],
)
def test_refuses_what_it_cannot_play_in(environment, options, error, message):
    agent = quick()
    with pytest.raises(error, match=message):
        agent.fit(environment, **{"steps_per_epoch": 10, "verbose": 0, **options})
    assert agent.num_steps == 0
    assert agent.replay is None


def test_refuses_images_that_are_not_uint8():
    with pytest.raises(ValueError, match=r"images of dtype float32.*as uint8"):
        quick((6, 6, 1)).fit(FloatImages(), verbose=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_stops_at_rewards_that_are_not_finite(value):
    agent = quick(2, 3)
    environment = Counting(length=50, reward=lambda time, action: value if time == 43 else 0.0)
    with pytest.raises(FloatingPointError, match=rf"reward {value} in step 43"):
        agent.fit(environment, steps_per_epoch=100, verbose=0)
    assert len(agent.replay) == 40


@pytest.mark.parametrize("options", [{}, {"validation_data": Counting()}, {"callbacks": [keras.callbacks.History, 5]}])
def test_closes_what_it_made_of_a_name(options, monkeypatch):
    closed = []
    monkeypatch.setattr(CartPoleEnv, "close", lambda world: closed.append(world))
    agent = quick(4)
    with contextlib.nullcontext() if not options else pytest.raises((ValueError, AttributeError, TypeError)):
        agent.fit("CartPole-v1", steps_per_epoch=10, verbose=0, **options)
    assert len(closed) == 1


def test_environments_in_processes_are_those_in_one():
    kinds = {
        "one": gymnasium.vector.SyncVectorEnv,
        # Started anew: a fork of a process with TensorFlow's threads may hang.
        "several": functools.partial(gymnasium.vector.AsyncVectorEnv, context="spawn"),
    }
    agents = {name: quick() for name in kinds}
    for name, kind in kinds.items():
        environment = kind([Line, Line])
        agents[name].fit(environment, steps_per_epoch=200, verbose=0)
        environment.close()
    for a, b in zip(agents["one"].get_weights(), agents["several"].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_memory_of_other_copies_is_not_mixed():
    agent = quick(2, 3)
    agent.fit(Counting(), steps_per_epoch=20, verbose=0)
    with pytest.raises(ValueError, match=r"what 1 copies of an environment showed.*agent\.replay = None"):
        agent.fit(vectors(gymnasium.vector.AutoresetMode.DISABLED), steps_per_epoch=20, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"discount": 1.5}, "`discount` must be a number from 0 to 1, got 1.5"),
        ({"delta": 0}, "`delta` must be a positive number"),
        ({"tau": 2}, "`tau` must be a number from 0 to 1"),
        ({"epsilon_end": -0.1}, "`epsilon_end` must be"),
        ({"n_step": 0}, "`n_step` must be a positive integer"),
        ({"batch_size": 2.5}, "`batch_size` must be"),
        ({"train_period": 0}, "`train_period` must be"),
        ({"global_clipnorm": 0}, "`global_clipnorm` must be a positive number"),
        ({"hidden_units": ()}, "`hidden_units` must hold"),
        ({"seed": -1}, "`seed` must be"),
        ({"double": 1}, "`double` must be True or False"),
        ({"activation": "rleu"}, "Did you mean 'relu'"),
        ({"priority_exponent": 0.6}, "`priority_exponent` is 0.6, but nothing is prioritized: pass prioritized=True"),
        ({"importance_exponent": 0.4}, "`importance_exponent` is 0.4, but nothing is prioritized"),
        ({"prioritized": True, "importance_exponent": 1.1}, "`importance_exponent` must be a number from 0 to 1"),
        ({"prioritized": True, "priority_exponent": -1}, "`priority_exponent` must be a number that is not negative"),
    ],
)
def test_refuses_settings_out_of_range(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        dqn(2, 2, **options)


def test_refuses_one_action_and_observations_of_another_shape():
    with pytest.raises(ValueError, match="`num_actions` must be an integer of at least 2, got 1"):
        dqn(2, 1)
    with pytest.raises(ValueError, match=r"`observation` must have the shape \(2,\)"):
        quick().act([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"`observation`.*NaN"):
        quick().act([1.0, np.nan])


@pytest.mark.parametrize("network", [5, keras.Sequential([keras.layers.Dense(2)])])
def test_refuses_networks_that_give_no_values(network):
    with pytest.raises((TypeError, ValueError), match="`q_network` must be a"):
        DQN(network)


def test_the_module_says_what_is_public():
    assert set(q_learning.__all__) == {"DQN", "Dueling", "Evaluation", "dqn"}


def test_refuses_more_actions_than_memory_has_room_for():
    with pytest.raises(ValueError, match=r"`hidden_units` and `num_actions` must be smaller: .* GB of memory"):
        dqn(2, 2**31 - 1, hidden_units=1024)
