"""What learns from `fit(environment)`: agents, the exact methods beneath them, and the replay buffer."""
