"""REINFORCE: gradients against those written out, updates against enumeration, then the promises of all agents."""

import itertools

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scipy import stats

import kphys.environments  # noqa: F401 - registers RandomWalk.
from kphys import Reinforce, reinforce
from kphys.agents._agent import played_returns
from kphys.agents._baselines import entropies
from kphys.agents._episodes import drawn, play_episodes, quotas
from kphys.agents._play import Play
from kphys.agents._worlds import open_worlds
from kphys.callbacks import EarlyStopping, GradientClipping

PI = 0.7  # Of action 1, in the exact tests.
SMALL = {"hidden_units": 8, "episodes_per_update": 4, "seed": 0}


def network(outputs, activation, features=3, units=5):
    """A small network with random weights, biases too."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(units, "tanh"), keras.layers.Dense(outputs, activation)]
    made = keras.Sequential([keras.Input((features,)), *layers])
    generator = np.random.default_rng(3)
    made.set_weights([generator.normal(size=weight.shape) for weight in made.get_weights()])
    return made


def policy(kind, **settings):
    return network(3, "softmax", **settings) if kind == "softmax" else network(1, "sigmoid", **settings)


def compiled(made, *, values=None, **settings):
    """The agent with steps along the gradient, of length 1."""
    agent = Reinforce(made, value_network=values, seed=0, **settings)
    agent.compile(keras.optimizers.SGD(1.0), None if values is None else keras.optimizers.SGD(0.0))
    return agent


def steps(kind, n=40):
    """Observations, actions, and advantages of both signs and 0."""
    generator = np.random.default_rng(1)
    actions = generator.integers(3 if kind == "softmax" else 2, size=n).astype("int32")
    advantages = generator.normal(size=n).astype("float32")
    advantages[:5] = 0
    return generator.normal(size=(n, 3)).astype("float32"), actions, advantages


def step_of(agent, *data, **weights):
    """What one update adds to the weights of the policy."""
    before = agent.policy.get_weights()
    agent.train_on_batch(*data, **weights)
    return [new - old for new, old in zip(agent.policy.get_weights(), before, strict=True)]


def log_probabilities(made, observations, actions):
    """The logarithm of π(a|s), of what the network gives."""
    outputs = made(observations)
    if outputs.shape[-1] == 1:
        outputs = tf.concat([1 - outputs, outputs], axis=-1)
    return tf.math.log(tf.gather(outputs, actions, batch_dims=1))


def slope(function, made):
    """The gradient of what `function` gives."""
    with tf.GradientTape() as tape:
        value = function()
    return [np.asarray(gradient) for gradient in tape.gradient(value, made.trainable_variables)]


def assert_close(found, expected, tolerance=1e-5):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=tolerance)


# === The cross-entropy trick ===


@pytest.mark.parametrize("kind", ["softmax", "logistic"])
@pytest.mark.parametrize("baseline", [None, "mean"])
def test_an_update_is_the_policy_gradient(kind, baseline):
    made = policy(kind)
    observations, actions, advantages = steps(kind)
    expected = slope(lambda: tf.reduce_sum(advantages * log_probabilities(made, observations, actions)) / 4, made)
    agent = compiled(made, baseline=baseline, episodes_per_update=4)
    assert max(np.abs(gradient).max() for gradient in expected) > 0.1
    assert_close(step_of(agent, observations, actions, sample_weight=advantages), expected)


def test_advantages_of_zero_move_nothing():
    observations, actions, advantages = steps("softmax")
    moved = step_of(compiled(policy("softmax")), observations, actions, sample_weight=0 * advantages)
    assert_close(moved, [np.zeros_like(part) for part in moved], 0)


@pytest.mark.parametrize("last", ["softmax", "linear"])
def test_the_textbook_form_is_still_wrong_on_this_stack(last):
    """Labels R onehot(a): the gradient that comes out takes them for probabilities, softmax − labels."""
    observations, actions, advantages = steps("softmax")
    made = network(3, "softmax")
    expected = slope(lambda: tf.reduce_mean(advantages * log_probabilities(made, observations, actions)), made)
    textbook = network(3, last)
    loss = keras.losses.CategoricalCrossentropy(from_logits=last == "linear")
    textbook.compile(keras.optimizers.SGD(1.0), loss)
    before = textbook.get_weights()
    labels = advantages[:, None] * np.eye(3, dtype="float32")[actions]
    textbook.train_on_batch(observations, labels)
    moved = [new - old for new, old in zip(textbook.get_weights(), before, strict=True)]
    assert max(np.abs(ours - theirs).max() for ours, theirs in zip(moved, expected, strict=True)) > 0.1
    # The bias of the last layer shows the error itself.
    np.testing.assert_allclose(moved[-1], (labels - made(observations).numpy()).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("kind", ["softmax", "logistic"])
def test_the_optimal_baseline_is_one_of_every_parameter(kind):
    made = policy(kind)
    observations, actions, _ = steps(kind, 12)
    numbers = np.repeat([0, 1, 2], [3, 7, 2]).astype("int32")
    returns = np.array([2.0, -1.0, 5.0], "float32")
    by_episode = [
        slope(lambda rows=numbers == k: tf.reduce_sum(log_probabilities(made, observations[rows], actions[rows])), made)
        for k in range(3)
    ]
    expected = []
    for parts in zip(*by_episode, strict=True):
        scores, rewards = np.stack(parts), returns.reshape(-1, *[1] * parts[0].ndim)
        best = (scores**2 * rewards).mean(axis=0) / (scores**2).mean(axis=0)
        expected.append(((rewards - best) * scores).mean(axis=0))
    agent = compiled(made, baseline="optimal", episodes_per_update=3)
    targets = {"actions": actions, "episodes": numbers}
    assert_close(step_of(agent, observations, targets, sample_weight=returns[numbers]), expected)


@pytest.mark.parametrize("kind", ["softmax", "logistic"])
@pytest.mark.parametrize("baseline", ["mean", "optimal"])
def test_the_entropy_bonus_moves_towards_chance(kind, baseline):
    made = policy(kind)
    observations, actions, advantages = steps(kind, 8)
    outputs = made(observations).numpy().astype("float64")
    outputs = np.concatenate([1 - outputs, outputs], axis=1) if kind == "logistic" else outputs
    by_hand = stats.entropy(outputs, axis=1)
    np.testing.assert_allclose(entropies(made(observations)), by_hand, rtol=1e-5)
    expected = slope(lambda: 0.3 * tf.reduce_sum(entropies(made(observations))) / 2, made)
    agent = compiled(made, baseline=baseline, entropy_bonus=0.3, episodes_per_update=2)
    targets = {"actions": actions, "episodes": np.repeat([0, 1], 4).astype("int32")}
    moved = step_of(agent, observations, targets, sample_weight=0 * advantages)
    assert_close(moved, expected)
    assert entropies(made(observations)).numpy().mean() > by_hand.mean()


def test_the_entropy_of_a_sure_policy_is_zero_and_so_is_its_slope():
    sure = tf.Variable([[1.0, 0.0], [0.5, 0.5]])
    np.testing.assert_allclose(entropies(sure), [0, np.log(2)], rtol=1e-6)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(entropies(sure))
    assert np.isfinite(tape.gradient(value, sure).numpy()).all()


# === Updates against exact answers ===


class Updates(keras.callbacks.Callback):
    """Collects what updates add to a policy that is put back after each."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_train_begin(self, logs=None):
        self.start = self.model.policy.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        self.found.append((self.model.policy.get_weights()[0] - self.start[0]).ravel().astype("float64"))
        self.model.policy.set_weights(self.start)


def one_parameter():
    """The lecture's policy: π(up) = 1 / (1 + e^−θ), whatever is seen."""
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid", use_bias=False)])
    made.set_weights([np.full((1, 1), np.log(PI / (1 - PI)))])
    return made


def updates(environment, made, number, episode_length, **settings):
    """So many updates, `(number, parameters)`."""
    agent = compiled(made, discount=1.0, **settings)
    collected = Updates()
    agent.fit(
        environment,
        steps_per_epoch=number * agent.episodes_per_update * episode_length,
        callbacks=[collected],
        verbose=0,
    )
    assert len(collected.found) == number
    return np.array(collected.found)


def assert_moments(found, mean, variance):
    """Mean and variance of `found` within three standard errors."""
    count, spread = len(found), found.var(axis=0)
    fourth = ((found - found.mean(axis=0)) ** 4).mean(axis=0)
    assert (np.abs(found.mean(axis=0) - mean) < 3 * np.sqrt(spread / count)).all()
    assert (np.abs(spread - variance) < 3 * np.sqrt((fourth - spread**2) / count)).all()


def enumerated(baseline, reward_to_go, num_steps, episodes):
    """Mean and variance of an update on the random walk, by the sum over all that can happen."""
    total = {0: 0.0, 1: 0.0, 2: 0.0}
    for ups in itertools.product((0, 1), repeat=num_steps * episodes):
        ups = np.reshape(ups, (episodes, num_steps))
        probability = PI ** ups.sum() * (1 - PI) ** (1 - ups).sum()
        rewards, scores = 2 * ups - 1, ups - PI
        returns = rewards[:, ::-1].cumsum(axis=1)[:, ::-1] if reward_to_go else rewards.sum(axis=1, keepdims=True)
        if baseline == "mean":
            returns = returns - returns.mean(axis=0)
        elif baseline == "optimal":
            squares = scores.sum(axis=1, keepdims=True) ** 2
            returns = returns - (squares * returns).sum() / squares.sum()
        update = (returns * scores).sum() / episodes
        for power in total:
            total[power] += probability * update**power
    assert abs(total[0] - 1) < 1e-9
    return total[1], total[2] - total[1] ** 2


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("baseline", "reward_to_go"), [(None, False), (None, True), ("mean", False), ("mean", True), ("optimal", False)]
)
def test_updates_on_the_random_walk_are_those_of_enumeration(baseline, reward_to_go):
    mean, variance = enumerated(baseline, reward_to_go, num_steps=3, episodes=3)
    walk = gymnasium.make("kphys/RandomWalk-v0", num_steps=3)
    settings = {"baseline": baseline, "reward_to_go": reward_to_go, "episodes_per_update": 3}
    assert_moments(updates(walk, one_parameter(), 700, 3, **settings), mean, variance)
    if baseline is None:
        assert abs(mean - 2 * 3 * PI * (1 - PI)) < 1e-9
    elif baseline == "mean":
        assert abs(mean - 2 * 3 * PI * (1 - PI) * 2 / 3) < 1e-9


@pytest.mark.cases(1)
@pytest.mark.parametrize("baseline", [None, "mean", "optimal"])
def test_the_spread_on_the_random_walk_is_that_of_the_binomial_formulas(baseline):
    num_steps, episodes = 10, 64
    ups = np.arange(num_steps + 1)
    weights = stats.binom.pmf(ups, num_steps, PI)
    returns, score = 2 * ups - num_steps, ups - num_steps * PI
    best = (weights * score**2 * returns).sum() / (weights * score**2).sum()
    base = {None: 0.0, "mean": (weights * returns).sum(), "optimal": best}[baseline]
    terms = (returns - base) * score
    mean = (weights * terms).sum()
    assert abs(mean - 2 * num_steps * PI * (1 - PI)) < 1e-9
    variance = (weights * (terms - mean) ** 2).sum() / episodes
    walk = SyncVectorEnv([lambda: gymnasium.make("kphys/RandomWalk-v0", num_steps=num_steps)] * 16)
    settings = {"baseline": baseline, "reward_to_go": False, "episodes_per_update": episodes}
    # A baseline found from the same episodes goes with them: cov(b, G), to first order in 1/episodes.
    together = {
        None: 0.0,
        "mean": mean,
        "optimal": (weights * score**3 * (returns - best)).sum() / (weights * score**2).sum(),
    }[baseline]
    found = updates(walk, one_parameter(), 150, num_steps, **settings)
    assert_moments(found, mean - together / episodes, variance)
    if baseline == "optimal":
        assert variance < 0.6 * (weights * (returns * score - mean) ** 2).sum() / episodes


class Bandit(gymnasium.Env):
    """Two arms, one step: arm 0 gives 1, arm 1 gives 3 or nothing, at the same odds."""

    observation_space = gymnasium.spaces.Box(np.zeros(1, "float32"), np.ones(1, "float32"))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, "float32"), {}

    def step(self, action):
        reward = 1.0 if action == 0 else 3.0 * self.np_random.integers(2)
        return np.ones(1, "float32"), reward, True, False, {}


@pytest.mark.cases(1)
@pytest.mark.parametrize(("baseline", "share"), [(None, 1), ("mean", 3 / 4)])
def test_the_two_armed_bandit_gives_the_enumerated_gradient(baseline, share):
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, "softmax", use_bias=False)])
    made.set_weights([np.log([[1 - PI, PI]])])
    probabilities, worth = np.array([1 - PI, PI]), np.array([1.0, 1.5])
    exact = probabilities * (worth - probabilities @ worth)
    found = updates(Bandit(), made, 800, 1, baseline=baseline, episodes_per_update=4)
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - share * exact) < 3 * error).all()
    assert error.max() < 0.15 * np.abs(exact).max()


# === Playing ===


class Clock(gymnasium.Env):
    """Episodes that last as long as their seed says, 1 to 9 steps; shows the length and the step."""

    observation_space = gymnasium.spaces.Box(np.zeros(2, "float32"), np.full(2, 99, "float32"))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, cut_off=False):
        self._cut_off = cut_off

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._length, self._time = int(self.np_random.integers(1, 10)), 0
        return self._seen(), {}

    def step(self, action):
        self._time += 1
        over = self._time == self._length
        return self._seen(), float(self._time), over and not self._cut_off, over and self._cut_off, {}

    def _seen(self):
        return np.array([self._length, self._time], "float32")


def even(observations):
    return np.full((len(observations), 2), 0.5)


def clocks(num=3, mode=None, cut_off=False):
    """Some clocks side by side, as single environments or as a vector environment."""
    if mode is None:
        worlds = open_worlds("environment", Clock(cut_off), 1, (2,), 2)
        return worlds
    made = SyncVectorEnv([lambda: Clock(cut_off)] * num, autoreset_mode=mode)
    return open_worlds("environment", made, num, (2,), 2)


@pytest.mark.parametrize("mode", [None, *AutoresetMode])
@pytest.mark.parametrize("cut_off", [False, True])
def test_steps_lie_episode_after_episode(mode, cut_off):
    worlds = clocks(mode=mode, cut_off=cut_off)
    seeds = itertools.count()
    play = Play(worlds, lambda copy: next(seeds))
    quota = quotas(7, worlds.num)
    assert quota.sum() == 7
    assert quota.max() - quota.min() <= 1
    episodes = play_episodes(play, quota, even, np.random.default_rng(0), 0)
    lengths = episodes.observations[episodes.last_rows, 0]
    assert len(lengths) == 7
    assert len(episodes.rewards) == lengths.sum()
    times = np.concatenate([np.arange(length) for length in lengths])
    np.testing.assert_array_equal(episodes.times, times)
    np.testing.assert_array_equal(episodes.observations[:, 1], times)
    np.testing.assert_array_equal(episodes.rewards, times + 1)
    np.testing.assert_array_equal(episodes.numbers, np.repeat(np.arange(7), lengths.astype(int)))
    np.testing.assert_array_equal(episodes.observations[:, 0], lengths[episodes.numbers])
    np.testing.assert_array_equal(episodes.last_observations, np.stack([lengths, lengths], axis=1))
    np.testing.assert_array_equal(episodes.cut_off, np.full(7, cut_off))
    # Of what was played beyond, nothing is noted.
    assert sorted(length for *_, length in play.ended) == sorted(lengths)


@pytest.mark.slow
def test_the_episodes_of_an_update_are_fixed_beforehand():
    # The first four to end would be short: 5 steps is the mean of all.
    agent = reinforce(2, 2, **SMALL)
    worlds = SyncVectorEnv([Clock] * 4)
    history = agent.fit(worlds, steps_per_epoch=6000, verbose=0).history
    assert abs(history["episode_length"][0] - 5) < 3 * np.sqrt(60 / 9 / (agent.num_updates * 4))


def test_an_epoch_ends_with_an_update():
    agent = reinforce(2, 2, **SMALL)
    seen = []
    remember = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append((agent.num_steps, agent.num_updates)))
    agent.fit(Clock(), epochs=3, steps_per_epoch=100, callbacks=[remember], verbose=0)
    counts = np.diff([0, *(steps for steps, _ in seen)])
    assert (counts >= 100).all()
    assert (counts < 100 + 4 * 9).all()
    assert agent._num_begun == 4 * agent.num_updates


def test_actions_are_drawn_with_their_probabilities():
    probabilities = np.array([0.2, 0.0, 0.5, 0.3], "float32")
    n = 20_000
    chosen = drawn(np.tile(probabilities, (n, 1)), np.random.default_rng(0).random(n))
    counts = np.bincount(chosen, minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]], n * probabilities[[0, 2, 3]].astype("float64")).pvalue > 0.01


@pytest.mark.parametrize(("probabilities", "expected"), [([0.0, 1.0], 1), ([1.0, 0.0], 0), ([0.0, 1.0, 0.0], 1)])
@pytest.mark.parametrize("uniform", [0.0, 0.5, np.nextafter(1, 0)])
def test_what_is_sure_is_always_drawn(probabilities, expected, uniform):
    assert drawn(np.array([probabilities]), np.array([uniform])) == [expected]


def test_the_logistic_policy_acts_as_its_probability_says():
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid", use_bias=False)])
    made.set_weights([np.full((1, 1), 2.0)])
    agent = Reinforce(made)
    assert agent.num_actions == 2
    np.testing.assert_array_equal(agent.act([[1.0], [-1.0]]), [1, 0])
    np.testing.assert_allclose(agent._probabilities()(np.ones((1, 1), "float32")), [[0.1192, 0.8808]], atol=1e-4)


# === Returns and baselines ===


def played(agent, environment, num=1):
    """The episodes of one update."""
    with agent._opened("environment", environment, num) as worlds:
        agent._prepare(worlds)
        play = Play(worlds, agent._next_seed)
        return play_episodes(play, agent._quotas, agent._probabilities(), np.random.default_rng(0), 0)


def each_episode(episodes):
    return [episodes.rewards[episodes.numbers == k] for k in range(len(episodes.last_rows))]


@pytest.mark.parametrize("reward_to_go", [False, True])
def test_advantages_are_returns_less_the_mean_at_their_time(reward_to_go):
    agent = reinforce(2, 2, discount=0.9, reward_to_go=reward_to_go, **SMALL)
    episodes = played(agent, Clock())
    returns = []
    for rewards in each_episode(episodes):
        going = [sum(0.9**k * r for k, r in enumerate(rewards[t:])) for t in range(len(rewards))]
        returns.append(going if reward_to_go else [going[0]] * len(rewards))
    expected = [
        r - np.mean([others[t] for others in returns if len(others) > t]) for row in returns for t, r in enumerate(row)
    ]
    actions, advantages = agent._targets(episodes)
    np.testing.assert_allclose(advantages, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(actions, episodes.actions)


def test_normalized_advantages_have_mean_0_and_deviation_1():
    agent = reinforce(2, 2, normalize_advantages=True, baseline=None, **SMALL)
    _, advantages = agent._targets(played(agent, Clock()))
    assert abs(advantages.mean()) < 1e-5
    assert abs(advantages.std() - 1) < 1e-5


@pytest.mark.parametrize("cut_off", [False, True])
def test_a_learnt_value_goes_on_where_a_time_limit_cut_off(cut_off):
    agent = reinforce(2, 2, discount=0.9, baseline="value", **SMALL)
    agent.value_network.set_weights(
        [np.random.default_rng(0).normal(size=w.shape) for w in agent.value_network.weights]
    )
    episodes = played(agent, Clock(cut_off))
    expected = []
    for rewards, last in zip(each_episode(episodes), episodes.last_observations, strict=True):
        end = float(agent.value_network(last[None])[0, 0]) * cut_off
        rewards = [*rewards, end]
        expected += [sum(0.9**k * r for k, r in enumerate(rewards[t:])) for t in range(len(rewards) - 1)]
    targets, advantages = agent._targets(episodes)
    np.testing.assert_allclose(targets["returns"], expected, rtol=1e-5)
    values = agent.value_network(episodes.observations).numpy()[:, 0]
    np.testing.assert_allclose(advantages, expected - values, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_value_network_learns_the_returns():
    agent = reinforce(2, 2, discount=1.0, baseline="value", **{**SMALL, "hidden_units": 16})
    history = agent.fit(Clock(), epochs=4, steps_per_epoch=1500, verbose=0).history
    # Rewards 1 + … + n, less those so far: known from what is shown.
    observations = np.array([[5, 0], [5, 3], [9, 4]], "float32")
    np.testing.assert_allclose(agent.value_network(observations)[:, 0], [15, 9, 35], atol=2)
    assert history["value_loss"][-1] < 0.05 * history["value_loss"][0]


# === Promises ===

KINDS = {
    "mean": {},
    "optimal": {"baseline": "optimal"},
    "value": {"baseline": "value", "value_steps": 3},
    "entropy": {"baseline": None, "entropy_bonus": 0.01, "normalize_advantages": True, "global_clipnorm": 1.0},
}


def weights(agent):
    return [np.asarray(variable) for variable in agent.variables + agent.optimizer.variables]


def assert_same(ours, theirs):
    for left, right in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", KINDS)
def test_training_that_is_resumed_goes_on_as_if_nothing_had_happened(kind, tmp_path):
    def made():
        return reinforce(4, 2, **{**SMALL, "episodes_per_update": 5}, **KINDS[kind])

    settings = {"steps_per_epoch": 200, "verbose": 0}
    whole = made()
    history = whole.fit("CartPole-v1", epochs=3, **settings).history
    first = made()
    first.fit("CartPole-v1", epochs=2, **settings)
    first.save(tmp_path / "agent.keras")
    resumed = keras.models.load_model(tmp_path / "agent.keras")
    assert_same(weights(first), weights(resumed))
    after = resumed.fit("CartPole-v1", epochs=3, initial_epoch=2, **settings).history
    assert_same(weights(resumed), weights(whole))
    assert after["episode_return"] == history["episode_return"][2:]
    assert (resumed.num_steps, resumed.num_updates) == (whole.num_steps, whole.num_updates)
    np.testing.assert_array_equal(resumed.act(np.eye(4)), whole.act(np.eye(4)))


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_vector_environment_gives_the_same_training(mode):
    named = reinforce(4, 2, **SMALL)
    named.fit("CartPole-v1", steps_per_epoch=300, verbose=0)
    vector = reinforce(4, 2, **SMALL)
    worlds = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 4, autoreset_mode=mode)
    vector.fit(worlds, steps_per_epoch=300, verbose=0)
    assert vector.num_steps == named.num_steps
    assert_same(weights(vector), weights(named))


def test_the_same_seed_gives_the_same_training_and_another_one_another():
    def trained(seed):
        agent = reinforce(4, 2, **{**SMALL, "seed": seed})
        agent.fit("CartPole-v1", steps_per_epoch=200, verbose=0)
        return weights(agent)

    assert_same(trained(1), trained(1))
    assert any((left != right).any() for left, right in zip(trained(1), trained(2), strict=True))


def test_ctrl_c_leaves_an_agent_that_plays_the_update_again():
    agent, whole = reinforce(4, 2, **SMALL), reinforce(4, 2, **SMALL)

    def interrupt(batch, logs):
        if batch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        agent.fit("CartPole-v1", callbacks=[keras.callbacks.LambdaCallback(on_train_batch_begin=interrupt)], verbose=0)
    assert agent.num_updates == 2
    rest = 400 - agent.num_steps
    agent.fit("CartPole-v1", steps_per_epoch=rest, verbose=0)
    whole.fit("CartPole-v1", steps_per_epoch=400, verbose=0)
    assert_same(weights(agent), weights(whole))


@pytest.mark.parametrize("kind", ["mean", "optimal", "value"])
def test_gradients_are_clipped(kind):
    agent = reinforce(4, 2, **SMALL, **KINDS[kind])
    clipping = GradientClipping(global_norm=1e-3)
    history = agent.fit("CartPole-v1", steps_per_epoch=200, callbacks=[clipping], verbose=0).history
    names = ("policy_", "value_") if kind == "value" else ("",)
    for name in names:
        assert history[f"{name}clipped_fraction"] == [1.0]
        assert history[f"{name}gradient_norm"][0] > 1e-3


def test_the_callbacks_of_the_house_and_of_keras_work(tmp_path):
    agent = reinforce(4, 2, **SMALL)
    callbacks = [
        EarlyStopping(monitor="episode_return", mode="max", patience=2),
        keras.callbacks.EarlyStopping(monitor="episode_return", mode="max", patience=99),
        keras.callbacks.TensorBoard(tmp_path / "logs"),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "episode_return", save_best_only=True, mode="max"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    history = agent.fit(
        "CartPole-v1",
        epochs=2,
        steps_per_epoch=150,
        callbacks=callbacks,
        validation_data="CartPole-v1",
        validation_episodes=2,
        verbose=2,
    ).history
    assert {*history} >= {"episode_return", "episode_length", "loss", "entropy", "steps_per_second"}
    assert np.isfinite(list(history.values())).all()
    assert 0 < history["entropy"][0] <= np.log(2) + 1e-6
    assert isinstance(keras.models.load_model(tmp_path / "best.keras"), Reinforce)


def test_images_are_learnt_from():
    agent = reinforce((6, 6, 3), 4, hidden_units=8, episodes_per_update=2, baseline="value", value_steps=2, seed=0)
    world = gymnasium.make("kphys/TreasureMap-v0", max_episode_steps=10)
    before = agent.policy.get_weights()
    agent.fit(world, steps_per_epoch=20, verbose=0)
    assert all((new != old).any() for new, old in zip(agent.policy.get_weights(), before, strict=True))


def test_batches_of_another_length_trace_nothing_new():
    agent = reinforce(2, 2, **SMALL)
    traced = []
    step = agent.train_step
    agent.train_step = lambda data: (traced.append(1), step(data))[1]
    agent.fit(Clock(), steps_per_epoch=400, verbose=0)
    assert agent.num_updates > 10
    assert len(traced) <= 3


def test_an_evaluation_plays_the_same_episodes_in_any_number_of_copies():
    agent = reinforce(2, 2, **SMALL)
    with agent._opened("environment", Clock(), 1) as worlds:
        one = played_returns(agent, worlds, 6, 3)
    several = agent.evaluate(SyncVectorEnv([Clock] * 4, autoreset_mode=AutoresetMode.DISABLED), 6, seed=3)
    assert np.isclose(several.mean, one.mean())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"baseline": "median"}, ValueError, "`baseline` must be one of 'mean', 'optimal', 'value', or None"),
        ({"baseline": "optimal", "reward_to_go": True}, ValueError, "`reward_to_go` must be False"),
        ({"baseline": "optimal", "normalize_advantages": True}, ValueError, "`normalize_advantages` must be False"),
        ({"reward_to_go": 1}, ValueError, "`reward_to_go` must be True or False"),
        ({"episodes_per_update": 0}, ValueError, "`episodes_per_update` must be a positive integer"),
        ({"episodes_per_update": 1}, ValueError, "at least 2 with baseline='mean'"),
        ({"entropy_bonus": -0.1}, ValueError, "`entropy_bonus` must be a number that is not negative"),
        ({"discount": 1.5}, ValueError, "`discount` must be a number from 0 to 1"),
        ({"value_steps": 3}, ValueError, "`value_steps` must be None"),
        ({"value_learning_rate": 0.1}, ValueError, "`value_learning_rate` must be None"),
        ({"value_learning_rate": -1.0, "baseline": "value"}, ValueError, "`value_learning_rate` must be a positive"),
        ({"num_actions": 1}, ValueError, "`num_actions` must be an integer of at least 2"),
        ({"observation_shape": (4, 4)}, ValueError, "`observation_shape` must be"),
        ({"hidden_units": 0}, ValueError, "hidden_units"),
        ({"seed": -1}, ValueError, "`seed`"),
    ],
)
def test_bad_arguments_are_refused_by_name(settings, error, message):
    with pytest.raises(error, match=message):
        reinforce(**{"observation_shape": 4, "num_actions": 2, **settings})


@pytest.mark.parametrize(("baseline", "also"), [("optimal", "episodes"), ("value", "returns")])
def test_what_a_baseline_needs_is_asked_for_in_a_batch(baseline, also):
    observations, actions, advantages = steps("softmax")
    agent = reinforce(3, 3, **SMALL, baseline=baseline)
    with pytest.raises(ValueError, match=f'"{also}": …'):
        agent.train_on_batch(observations, actions, sample_weight=advantages)


def test_networks_that_do_not_fit_are_refused():
    values = network(1, "linear")
    with pytest.raises(TypeError, match="`policy` must be a Keras model, got int"):
        Reinforce(3)
    with pytest.raises(ValueError, match=r'must give probabilities.*activation="softmax"'):
        Reinforce(network(3, "linear"))
    with pytest.raises(ValueError, match=r'must give probabilities.*activation="sigmoid"'):
        Reinforce(network(1, "linear"))
    with pytest.raises(ValueError, match="`value_network` must be None"):
        Reinforce(policy("softmax"), value_network=values)
    with pytest.raises(TypeError, match="`value_network` must be a Keras model, got NoneType"):
        Reinforce(policy("softmax"), baseline="value")
    with pytest.raises(ValueError, match="`value_network` must go from"):
        Reinforce(policy("softmax"), baseline="value", value_network=network(2, "linear"))
    with pytest.raises(ValueError, match="`value_optimizer` must be None"):
        Reinforce(policy("softmax")).compile("adam", "adam")
    agent = Reinforce(policy("softmax"), baseline="value", value_network=values)
    with pytest.raises(ValueError, match="`value_optimizer` must be given"):
        agent.compile("adam")
    adam = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="must be another object"):
        agent.compile(adam, adam)


def test_more_copies_than_episodes_are_refused():
    with pytest.raises(ValueError, match="`environment` has 5 copies, more than the 4 episodes"):
        reinforce(2, 2, **SMALL).fit(SyncVectorEnv([Clock] * 5), verbose=0)


class Broken(Clock):
    """Gives a reward that is no number in the third step."""

    def step(self, action):
        self.count = getattr(self, "count", 0) + 1
        observation, reward, *rest = super().step(action)
        return observation, np.nan if self.count == 3 else reward, *rest


def test_a_reward_that_is_no_number_stops_training_and_names_the_step():
    agent = reinforce(2, 2, **SMALL)
    before = agent.policy.get_weights()
    with pytest.raises(FloatingPointError, match="reward nan in step 3"):
        agent.fit(Broken(), verbose=0)
    assert_same(agent.policy.get_weights(), before)


def test_refuses_more_actions_than_memory_has_room_for():
    with pytest.raises(ValueError, match=r"`hidden_units` and `num_actions` must be smaller: .* GB of memory"):
        reinforce(2, 2**31 - 1, hidden_units=1024)
