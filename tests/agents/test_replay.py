"""The replay buffer against a list of episodes, then its draws against their probabilities."""

import io

import numpy as np
import pytest
from scipy import stats

from kphys.agents.replay import ReplayBuffer

NAMES = ("observations", "actions", "rewards", "terminated", "truncated", "next_observations")


class Episode:
    """One episode: T steps, T + 1 observations, and the number that each observation has in its environment."""

    def __init__(self, observation, number):
        self.observations, self.numbers = [observation], [number]
        self.actions, self.rewards, self.terminated, self.ended = [], [], False, False


class Reference:
    """What `ReplayBuffer` holds, kept as plain lists of episodes and looked through step by step."""

    def __init__(self, ring, num_environments=1, frame_stack=1, n_step=1, discount=0.99):
        self.ring, self.frame_stack, self.n_step, self.discount = ring, frame_stack, n_step, discount
        self.episodes = [[] for _ in range(num_environments)]
        self.counts = [0] * num_environments

    def extend(self, environment, *columns):
        for observation, action, reward, terminated, truncated, following in zip(*columns, strict=True):
            episodes = self.episodes[environment]
            if not episodes or episodes[-1].ended:
                episodes.append(Episode(observation, self.counts[environment]))
                self.counts[environment] += 1
            episode = episodes[-1]
            episode.actions.append(action)
            episode.rewards.append(reward)
            episode.observations.append(following)
            episode.numbers.append(self.counts[environment])
            self.counts[environment] += 1
            episode.terminated, episode.ended = bool(terminated), bool(terminated or truncated)

    def close(self, environment):
        if self.episodes[environment]:
            self.episodes[environment][-1].ended = True

    def transitions(self):
        """Every transition that can be drawn, by its index."""
        found = {}
        for environment, episodes in enumerate(self.episodes):
            oldest = self.counts[environment] - self.ring
            for episode in episodes:
                for step in range(len(episode.actions)):
                    seen = episode.numbers[max(0, step - self.frame_stack + 1)]
                    complete = episode.ended or step + self.n_step <= len(episode.actions)
                    if seen >= oldest and complete:
                        index = episode.numbers[step] % self.ring * len(self.episodes) + environment
                        found[index] = self.transition(episode, step)
        return found

    def transition(self, episode, step):
        end = min(step + self.n_step, len(episode.actions))
        rewards = sum(self.discount ** (k - step) * episode.rewards[k] for k in range(step, end))
        terminated = episode.terminated and end == len(episode.actions)
        return {
            "observations": self.stack(episode, step),
            "actions": episode.actions[step],
            "rewards": rewards,
            "discounts": 0.0 if terminated else self.discount ** (end - step),
            "next_observations": self.stack(episode, end),
        }

    def stack(self, episode, step):
        if self.frame_stack == 1:
            return episode.observations[step]
        frames = [episode.observations[max(0, step - back)] for back in range(self.frame_stack - 1, -1, -1)]
        return np.concatenate([frame.reshape(*frame.shape[:2], -1) for frame in frames], axis=-1)


class Streams:
    """Random episodes of several environments, in pieces of random length."""

    def __init__(self, generator, shape, dtype, num_environments, end=0.15):
        self.generator, self.shape, self.dtype, self.end = generator, shape, dtype, end
        self.current = [None] * num_environments

    def observation(self):
        if self.dtype == "uint8":
            return self.generator.integers(0, 256, self.shape, self.dtype)
        return self.generator.normal(size=self.shape).astype(self.dtype)

    def piece(self, environment, length):
        steps = []
        for _ in range(length):
            current = self.current[environment]
            current = self.observation() if current is None else current
            following, action = self.observation(), int(self.generator.integers(-3, 4))
            terminated, truncated = (bool(self.generator.random() < self.end) for _ in range(2))
            steps.append((current, action, float(self.generator.normal()), terminated, truncated, following))
            self.current[environment] = None if terminated or truncated else following
        return tuple(np.array(column) for column in zip(*steps, strict=True))


def assert_same(buffer, reference, generator):
    """Draws so often that no transition is missed (the chance is below 1e-10), and compares every draw."""
    expected = reference.transitions()
    assert len(buffer) == len(expected)
    if not expected:
        return
    exponent = 0.5 if buffer.prioritized else None
    drawn = buffer.sample(3, 10 * len(expected) + 1, generator, exponent)
    drawn = {name: array.reshape(-1, *array.shape[2:]) for name, array in drawn.items()}
    assert set(drawn["indices"].tolist()) == set(expected)
    for name in ("observations", "actions", "rewards", "discounts", "next_observations"):
        wanted = np.array([expected[index][name] for index in drawn["indices"].tolist()])
        if name in ("rewards", "discounts"):
            np.testing.assert_allclose(drawn[name], wanted, rtol=1e-6, atol=1e-6)
            assert drawn[name].dtype == np.float32
        else:
            np.testing.assert_array_equal(drawn[name], wanted)
    assert drawn["actions"].dtype == np.int32
    assert drawn["observations"].dtype == drawn["next_observations"].dtype == buffer.dtype


def cases():
    for seed in range(48):
        generator = np.random.default_rng(seed)
        shapes = [((2, 3), "uint8"), ((2, 2, 3), "uint8"), ((3, 2), "float32")]
        frame_stack, n_step = 1 + seed % 4, 1 + seed // 4 % 4
        if frame_stack == 1:
            shapes += [((4,), "float32"), ((), "int64")]
        shape, dtype = shapes[generator.integers(len(shapes))]
        settings = {
            "num_environments": int(generator.choice([1, 1, 3])),
            "frame_stack": frame_stack,
            "n_step": n_step,
            "discount": float(generator.choice([0.0, 0.9, 1.0])),
        }
        ring = frame_stack + n_step + int(generator.integers(0, 25))
        end = float(generator.choice([0.02, 0.15, 0.4]))
        prioritized = seed % 3 == 0
        yield pytest.param(seed, ring, shape, dtype, end, settings, prioritized, id=f"stream{seed}")


@pytest.mark.parametrize(("seed", "ring", "shape", "dtype", "end", "settings", "prioritized"), [*cases()])
def test_it_holds_what_the_lists_hold(seed, ring, shape, dtype, end, settings, prioritized):
    generator = np.random.default_rng([1, seed])
    num_environments = settings["num_environments"]
    # Not a multiple of the number of environments: the rest is left out.
    capacity = ring * num_environments + num_environments - 1
    # Without an exponent prioritized draws are uniform too, so that none is missed.
    priorities = {"prioritized": True, "priority_exponent": 0.0} if prioritized else {}
    buffer = ReplayBuffer(capacity, shape, dtype, **settings, **priorities)
    reference = Reference(ring, **settings)
    streams = Streams(generator, shape, dtype, num_environments, end)
    for _ in range(25):
        environment = int(generator.integers(num_environments))
        if generator.random() < 0.1:
            buffer.close(environment)
            reference.close(environment)
            streams.current[environment] = None
        else:
            length = 1 if generator.random() < 0.3 else int(generator.integers(1, ring + 10))
            piece = streams.piece(environment, length)
            buffer.extend(environment, *piece)
            reference.extend(environment, *piece)
        assert_same(buffer, reference, generator)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("prioritized", [False, True])
def test_a_restored_buffer_goes_on_as_if_nothing_had_happened(seed, prioritized):
    generator = np.random.default_rng([2, seed])
    settings = {"num_environments": 2, "frame_stack": 1 + seed % 3, "n_step": 1 + seed % 2, "prioritized": prioritized}
    exponent = 0.7 if prioritized else None
    buffer, other = (ReplayBuffer(40, (2, 2), "uint8", **settings) for _ in range(2))
    streams = Streams(generator, (2, 2), "uint8", 2)
    # Something else is in the other one before, and less of it or more.
    other.extend(1, *Streams(generator, (2, 2), "uint8", 2).piece(1, 30))
    saved = restored = None
    for step in range(20):
        environment, piece = step % 2, streams.piece(step % 2, int(generator.integers(1, 9)))
        buffer.extend(environment, *piece)
        if step == (3, 12)[seed % 2]:
            with io.BytesIO() as file:
                np.savez(file, **buffer.state())
                file.seek(0)
                saved = dict(np.load(file))
            other.restore(saved)
            restored = step
        elif restored is not None:
            other.extend(environment, *piece)
        if restored is not None:
            batches = [each.sample(3, 8, np.random.default_rng(step), exponent) for each in (buffer, other)]
            for name in batches[0]:
                np.testing.assert_array_equal(batches[0][name], batches[1][name])
            assert len(buffer) == len(other)
        if prioritized and len(buffer):
            batch = buffer.sample(2, 4, generator, exponent)
            errors = generator.normal(size=(2, 4))
            for each in (buffer, other) if restored is not None else (buffer,):
                each.update_priorities(batch["indices"], errors)


def simple(length, **settings):
    """A buffer with one episode of `length` steps, terminated; the observation of step t is t, its reward t + 1."""
    buffer = ReplayBuffer(100, (1,), **settings)
    path = np.arange(length + 1.0).reshape(-1, 1)
    ends = np.arange(length) == length - 1
    buffer.extend(0, path[:-1], np.arange(length), np.arange(length) + 1.0, ends, ends & False, path[1:])
    return buffer


def by_step(buffer, **settings):
    """Each drawn transition once, in the order of its observation."""
    batch = buffer.sample(1, 50 * len(buffer), np.random.default_rng(0), **settings)
    _, first = np.unique(batch["observations"][0, ..., 0], axis=0, return_index=True)
    return {name: array[0][first] for name, array in batch.items()}


@pytest.mark.parametrize("end", ["terminated", "truncated", "closed"])
def test_the_return_of_three_steps_by_hand(end):
    buffer = ReplayBuffer(50, (), n_step=3, discount=0.5)
    steps, ends = np.arange(4.0), np.arange(4) == 3
    nothing = np.zeros(4, bool)
    flags = {"terminated": (ends, nothing), "truncated": (nothing, ends), "closed": (nothing, nothing)}[end]
    buffer.extend(0, steps, np.zeros(4, int), [1.0, 2.0, 4.0, 8.0], *flags, steps + 1)
    if end == "closed":
        assert len(buffer) == 2
        buffer.close(0)
        buffer.close(0)
    assert len(buffer) == 4
    batch = buffer.sample(1, 500, np.random.default_rng(0))
    _, first = np.unique(batch["observations"][0], return_index=True)
    last = 0.0 if end == "terminated" else 1.0
    np.testing.assert_array_equal(batch["rewards"][0][first], [1 + 1 + 1, 2 + 2 + 2, 4 + 4, 8])
    np.testing.assert_array_equal(batch["discounts"][0][first], [1 / 8, last / 8, last / 4, last / 2])
    np.testing.assert_array_equal(batch["next_observations"][0][first], [3, 4, 4, 4])


def test_stacks_repeat_the_first_frame_and_stay_in_their_episode():
    buffer = ReplayBuffer(50, (1, 2), "uint8", frame_stack=3)
    frames = np.arange(10, dtype="uint8").reshape(5, 1, 2)
    ends, nothing = np.array([True, False, False]), np.zeros(3, bool)
    buffer.extend(0, frames[[0, 2, 3]], np.arange(3), np.zeros(3), nothing, ends, frames[[1, 3, 4]])
    batch = buffer.sample(1, 200, np.random.default_rng(0))
    _, first = np.unique(batch["actions"][0], return_index=True)
    shown = batch["observations"][0][first]  # (3, 1, 2, 3)
    following = batch["next_observations"][0][first]
    np.testing.assert_array_equal(shown[:, 0, 0], [[0, 0, 0], [4, 4, 4], [4, 4, 6]])
    np.testing.assert_array_equal(following[:, 0, 0], [[0, 0, 2], [4, 4, 6], [4, 6, 8]])
    np.testing.assert_array_equal(shown[:, 0, 1], shown[:, 0, 0] + 1)


def uniform_case(kind):
    generator = np.random.default_rng(5)
    buffer = ReplayBuffer(64 * 8, (), num_environments=8, n_step=2)
    streams = Streams(generator, (), "float32", 8, end=0.1)
    for environment in range(8 if kind == "dense" else 1):
        for _ in range(4):
            buffer.extend(environment, *streams.piece(environment, 40))
    return buffer


@pytest.mark.parametrize("kind", ["dense", "one environment of eight"])
def test_uniform_draws_are_uniform(kind):
    buffer = uniform_case(kind)
    indices = buffer.sample(50, 40 * len(buffer), np.random.default_rng(6))["indices"]
    counts = np.bincount(indices.ravel())
    counts = counts[counts > 0]
    assert len(counts) == len(buffer)
    assert stats.chisquare(counts).pvalue > 1e-3
    # Neighbours in a batch are independent.
    small = (indices[:, 1:] % 5, indices[:, :-1] % 5)
    table = np.histogram2d(*(each.ravel() for each in small), bins=5)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_prioritized_draws_follow_their_formula():
    buffer = simple(40, prioritized=True, priority_exponent=0.6)
    errors = np.random.default_rng(0).normal(size=40)
    buffer.update_priorities(np.arange(40), errors)
    expected = (np.abs(errors) + 1e-6) ** 0.6
    # Batches of one have one stratum: draws are independent.
    batch = buffer.sample(100_000, 1, np.random.default_rng(1), 0.5)
    counts = np.bincount(batch["indices"].ravel(), minlength=40)
    assert len(counts) == 40
    assert stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue > 1e-3
    # In large batches each is drawn as often as it should be, to one draw more or less.
    counts = np.bincount(buffer.sample(1, 100_000, np.random.default_rng(1), 0.5)["indices"].ravel(), minlength=40)
    assert np.abs(counts - expected / expected.sum() * 100_000).max() <= 2


def test_a_batch_takes_one_draw_out_of_each_part_of_the_sum():
    buffer = simple(32, prioritized=True)
    indices = buffer.sample(20, 32, np.random.default_rng(0), 0.4)["indices"]
    np.testing.assert_array_equal(np.sort(indices, axis=1), np.tile(np.arange(32), (20, 1)))


def test_importance_weights_by_hand():
    buffer = simple(3, prioritized=True, priority_exponent=1.0)
    buffer.update_priorities([0, 1, 2], np.array([1.0, -2.0, 5.0]) - np.array([1, -1, 1]) * 1e-6)
    batch = buffer.sample(200, 2, np.random.default_rng(0), 0.5)
    # P = 1/8, 2/8, 5/8 and N = 3; the largest weight is that of the batch, not of the buffer.
    weights = (3 * np.array([1, 2, 5]) / 8) ** -0.5
    expected = weights[batch["indices"]] / weights[batch["indices"]].max(axis=1, keepdims=True)
    np.testing.assert_allclose(batch["weights"], expected, rtol=1e-6)
    assert len(np.unique(batch["weights"].round(4))) > 2
    assert batch["weights"].dtype == np.float32
    np.testing.assert_array_equal(buffer.sample(3, 4, np.random.default_rng(0), 0.0)["weights"], np.ones((3, 4)))
    np.testing.assert_array_equal(simple(3).sample(3, 4, np.random.default_rng(0))["weights"], np.ones((3, 4)))


def shares(buffer, draws=20_000):
    """How often each index is drawn, as a share of all draws."""
    indices = buffer.sample(1, draws, np.random.default_rng(0), 1.0)["indices"]
    return np.bincount(indices.ravel(), minlength=buffer.capacity) / draws


def test_new_transitions_have_the_largest_priority_so_far():
    buffer = simple(4, prioritized=True, priority_exponent=1.0)
    buffer.update_priorities([0, 1, 2, 3], [3.0, 1.0, 1.0, 1.0])
    buffer.update_priorities([0], [1.0])
    path = np.zeros((2, 1))
    buffer.extend(0, path[:1], [0], [0.0], [True], [False], path[1:])
    np.testing.assert_allclose(shares(buffer)[:6], np.array([1, 1, 1, 1, 0, 3]) / 7, atol=1e-3)


def test_priorities_stay_while_others_are_completed():
    buffer = ReplayBuffer(20, (), n_step=2, prioritized=True, priority_exponent=1.0)
    steps, nothing = np.arange(5.0), np.zeros(5, bool)
    buffer.extend(0, steps[:3], np.zeros(3, int), np.zeros(3), nothing[:3], nothing[:3], steps[1:4])
    buffer.update_priorities([0, 1], [2.0, 5.0])
    buffer.extend(0, steps[3:4], [0], [0.0], [False], [False], steps[4:])
    np.testing.assert_allclose(shares(buffer)[:4], np.array([2, 5, 5, 0]) / 12, atol=1e-3)
    buffer.update_priorities([2], [1.0])
    buffer.close(0)
    np.testing.assert_allclose(shares(buffer)[:5], np.array([2, 5, 1, 5, 0]) / 13, atol=1e-3)


def test_priorities_of_what_is_gone_do_not_come_back():
    # Six slots: four steps, where they ended, and a step of another episode; where that led takes the first slot.
    buffer = ReplayBuffer(6, (1,), prioritized=True, priority_exponent=1.0)
    path = np.arange(7.0).reshape(-1, 1)
    ends = np.array([False, False, False, True])
    buffer.extend(0, path[:4], np.zeros(4, int), np.zeros(4), ends, ends, path[1:5])
    drawn = buffer.sample(1, 4, np.random.default_rng(0), 0.4)
    assert sorted(drawn["indices"][0]) == [0, 1, 2, 3]
    buffer.extend(0, path[5:6], [0], [0.0], [False], [False], path[6:])
    buffer.update_priorities(drawn["indices"], np.full((1, 4), 100.0))
    found = shares(buffer)
    assert found[0] == found[4] == 0
    np.testing.assert_allclose(found[[1, 2, 3, 5]], np.array([100, 100, 100, 1]) / 301, atol=1e-3)


def test_all_randomness_comes_from_the_generator():
    buffer = simple(30)
    before = np.random.get_state()[1].copy()
    first, second = (buffer.sample(3, 20, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first["indices"], second["indices"])
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    generator = np.random.default_rng(4)
    buffer.sample(3, 20, generator)
    assert (buffer.sample(3, 20, generator)["indices"] != first["indices"]).any()


def test_a_drawn_batch_and_a_state_are_copies():
    buffer = simple(5)
    state, batch = buffer.state(), buffer.sample(1, 50, np.random.default_rng(0))
    batch["observations"][:] = batch["rewards"][:] = -1
    assert not np.shares_memory(state["observations"], buffer.state(copy=False)["observations"])
    assert np.shares_memory(buffer.state(copy=False)["observations"], buffer.state(copy=False)["observations"])
    for name, array in buffer.state().items():
        np.testing.assert_array_equal(array, state[name])


def test_a_state_holds_only_what_is_in_use():
    state = simple(9).state()
    assert len(state["observations"]) == len(state["actions"]) == 10
    assert len(ReplayBuffer(100, (3,), prioritized=True).state()["priorities"]) == 0


@pytest.mark.parametrize("prioritized", [False, True])
def test_an_empty_state_empties(prioritized):
    buffer = simple(9, prioritized=prioritized)
    buffer.restore(ReplayBuffer(100, (1,), prioritized=prioritized).state())
    assert len(buffer) == 0
    buffer.extend(0, [[1.0]], [0], [0.0], [True], [False], [[2.0]])
    assert len(buffer) == 1


def test_a_million_frames_take_little_more_than_themselves():
    buffer = ReplayBuffer(1_000_000, (84, 84), "uint8", frame_stack=4, prioritized=True)
    assert 1_000_000 * 84 * 84 < buffer.nbytes < 7.5e9
    kept = sum(array.nbytes for array in buffer._transitions.arrays.values()) + buffer._tree.nbytes
    assert buffer.nbytes == kept


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((0, (4,)), {}, "`capacity` must be a positive integer, got 0"),
        ((4, (4,)), {"num_environments": 3}, "`capacity` is 4, 1 for each environment, .* pass at least 6"),
        ((9, (8, 8)), {"n_step": 3, "frame_stack": 7}, "`capacity` is 9, .* pass at least 10"),
        ((9, (0,)), {}, r"`observation_shape\[0\]` must be a positive integer"),
        ((9, (8,)), {"frame_stack": 2}, r"`observation_shape` must be that of one frame, .* got \(8,\)"),
        ((9, (4,), "string"), {}, "`dtype` must be a NumPy type of numbers .* got 'string'"),
        ((9, (4,), "object"), {}, "`dtype` must be a NumPy type of numbers .* got 'object'"),
        ((9, (4,)), {"discount": 1.1}, "`discount` must be a number from 0 to 1, got 1.1"),
        ((9, (4,)), {"discount": np.nan}, "`discount` must be a number that is not negative, got nan"),
        ((9, (4,)), {"n_step": 0}, "`n_step` must be a positive integer"),
        ((9, (4,)), {"frame_stack": 1.5}, "`frame_stack` must be a positive integer"),
        ((9, (4,)), {"num_environments": -1}, "`num_environments` must be a positive integer"),
        ((9, (4,)), {"prioritized": "yes"}, "`prioritized` must be True or False"),
        ((9, (4,)), {"priority_exponent": 0.6}, "`priority_exponent` is 0.6, .* pass prioritized=True"),
        ((9, (4,)), {"priority_exponent": -1, "prioritized": True}, "`priority_exponent` must be a number that is not"),
    ],
)
def test_wrong_arguments_are_refused(arguments, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ReplayBuffer(*arguments, **settings)


def piece(**changes):
    """Two steps that a buffer of three numbers takes, with changes."""
    columns = (np.zeros((2, 3)), [0, 1], [0.0, 1.0], [False, False], [False, True], np.ones((2, 3)))
    return dict(zip(NAMES, columns, strict=True)) | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": np.zeros((2, 4))}, r"`observations` must have shape \(n, 3\), got \(2, 4\)"),
        ({"observations": np.zeros(3)}, r"`observations` must have shape \(n, 3\), got \(3,\)"),
        ({"observations": np.float32(0)}, r"`observations` must have shape \(n, 3\), got \(\)"),
        ({"observations": np.zeros((0, 3))}, "`observations` must hold at least one transition"),
        ({"observations": [[0, 0, 0], [0, np.nan, 0]]}, "`observations` is stored as float32, .* the nan of step 1"),
        ({"observations": np.float32([[0, 0, np.inf]])}, "`observations` is stored as float32, .* the inf of step 0"),
        ({"observations": np.full((2, 3), 1e300)}, r"`observations` is stored as float32, .* the 1e\+300 of step 0"),
        ({"observations": np.full((2, 3), 2**24 + 1)}, "`observations` is stored as float32, .* the 16777217 of step"),
        ({"observations": [[0, 1], [2]]}, "`observations` must be an array, but its rows are of different lengths"),
        ({"observations": [["a", "b", "c"]]}, "`observations` must be an array of numbers, got <U1"),
        ({"next_observations": np.zeros((1, 3))}, r"`next_observations` must have shape \(2, 3\), got \(1, 3\)"),
        ({"next_observations": np.full((2, 3), np.inf)}, "`next_observations` .* the inf of step 0"),
        ({"rewards": [0.0, np.nan]}, "`rewards` is stored as float32, which does not take the nan of step 1"),
        ({"rewards": [0.0]}, r"`rewards` must have shape \(2,\), got \(1,\)"),
        ({"rewards": [[0.0], [0.0]]}, r"`rewards` must have shape \(2,\), got \(2, 1\)"),
        ({"actions": [0, 0.5]}, "`actions` is stored as int32, which does not take the 0.5 of step 1"),
        ({"actions": [2**31, 0]}, "`actions` is stored as int32, which does not take the 2147483648 of step 0"),
        ({"actions": [0, np.nan]}, "`actions` is stored as int32, which does not take the nan of step 1"),
        ({"terminated": [0, 2]}, "`terminated` is stored as bool, which does not take the 2 of step 1"),
        ({"environment": 2}, "`environment` must be below num_environments, 2, got 2"),
        ({"environment": -1}, "`environment` must be an integer of at least 0, got -1"),
        ({"environment": 1}, r"`observations\[0\]` is not the last .* environment 1 has not ended: .* call close\(1\)"),
    ],
)
def test_wrong_steps_are_refused_and_nothing_is_stored(changes, message):
    buffer = ReplayBuffer(20, (3,), num_environments=2, prioritized=True)
    buffer.extend(**{"environment": 0, **piece()})
    buffer.extend(**{"environment": 1, **piece(truncated=[False, False])})
    before = buffer.state()
    with pytest.raises((ValueError, TypeError), match=message):
        buffer.extend(**{"environment": 0, **piece(**changes)})
    for name, array in buffer.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_images_take_integers_that_fit():
    buffer = ReplayBuffer(20, (2, 2), "uint8")
    image = np.full((1, 2, 2), 200)
    buffer.extend(0, image, [0], [0], [0], [1], image.astype(float))
    np.testing.assert_array_equal(buffer.sample(1, 1, np.random.default_rng(0))["observations"][0], image)
    with pytest.raises(ValueError, match="`observations` is stored as uint8, which does not take the 256 of step 0"):
        buffer.extend(0, image + 56, [0], [0], [0], [1], image)
    with pytest.raises(ValueError, match=r"`observations` is stored as uint8, which does not take the 0\.5 of step 0"):
        buffer.extend(0, np.full((1, 2, 2), 0.5), [0], [0], [0], [1], image)


def test_another_episode_begins_after_close():
    buffer = ReplayBuffer(20, (3,))
    buffer.extend(0, **piece(truncated=[False, False]))
    buffer.close(0)
    buffer.extend(0, **piece())
    assert len(buffer) == 4
    with pytest.raises(ValueError, match="`environment` must be below num_environments, 1, got 1"):
        buffer.close(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4, np.random.default_rng()), "`num_batches` must be a positive integer"),
        ((4, 0, np.random.default_rng()), "`batch_size` must be a positive integer"),
        ((4, 4, 17), "`generator` must be a numpy.random.Generator, got 17"),
        ((4, 4, np.random.default_rng(), 0.4), "`importance_exponent` is 0.4, but nothing is prioritized"),
    ],
)
def test_wrong_draws_are_refused(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        simple(5).sample(*arguments)


@pytest.mark.parametrize("exponent", [None, -0.1, 1.1, np.nan])
def test_prioritized_draws_need_an_importance_exponent(exponent):
    with pytest.raises((ValueError, TypeError), match="`importance_exponent` must be a number"):
        simple(5, prioritized=True).sample(1, 1, np.random.default_rng(0), exponent)


def test_nothing_is_drawn_from_an_empty_buffer():
    buffer = ReplayBuffer(20, (), n_step=3)
    with pytest.raises(ValueError, match=r"holds no complete transition \(n_step=3\) yet"):
        buffer.sample(1, 1, np.random.default_rng(0))
    buffer.extend(0, [1.0, 2.0], [0, 0], [0.0, 0.0], [False, False], [False, False], [2.0, 3.0])
    with pytest.raises(ValueError, match=r"holds no complete transition \(n_step=3\) yet"):
        buffer.sample(1, 1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("indices", "errors", "message"),
    [
        ([100], [1.0], "`indices` must be integers .* 0 to 99"),
        ([-1], [1.0], "`indices` must be integers"),
        ([0.0], [1.0], "`indices` must be integers"),
        ([0, 1], [1.0], r"`td_errors` must have the shape of `indices`, \(2,\), got \(1,\)"),
        ([0, 1], [1.0, np.nan], "`td_errors` must be finite, but 1 of 2 are not"),
    ],
)
def test_wrong_priorities_are_refused(indices, errors, message):
    buffer = simple(5, prioritized=True)
    before = buffer.state()
    with pytest.raises(ValueError, match=message):
        buffer.update_priorities(indices, errors)
    np.testing.assert_array_equal(buffer.state()["priorities"], before["priorities"])


def test_without_priorities_there_is_nothing_to_update():
    with pytest.raises(ValueError, match="pass prioritized=True"):
        simple(5).update_priorities([0], [1.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_step": 2}, "n_step=1, and this one has 2"),
        ({"discount": 0.9}, "discount=0.99, and this one has 0.9"),
        ({"capacity": 50}, "capacity=100, and this one has 50"),
        ({"num_environments": 2}, "num_environments=1, and this one has 2"),
        ({"prioritized": True}, "prioritized=False, and this one has True"),
        ({"dtype": "float64"}, "'observations' as float32 .* takes float64"),
        ({"observation_shape": (2,)}, r"'observations' .* shape \(10, 1\), .* shape \(10, 2\)"),
    ],
)
def test_the_state_of_another_buffer_is_refused(settings, message):
    other = ReplayBuffer(**{"capacity": 100, "observation_shape": (1,), **settings})
    with pytest.raises(ValueError, match=message):
        other.restore(simple(9).state())
    assert len(other) == 0


def test_what_is_no_state_is_refused():
    buffer = simple(9)
    state = buffer.state()
    for name in state:
        with pytest.raises(ValueError, match=f"'{name}' is missing"):
            buffer.restore({key: array for key, array in state.items() if key != name})
    with pytest.raises(ValueError, match=r"'actions' as int32 of shape \(3,\)"):
        buffer.restore({**state, "actions": state["actions"][:3]})
    assert len(buffer) == 9
