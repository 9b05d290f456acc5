"""The builders of what learns from `fit(x, y)`."""
