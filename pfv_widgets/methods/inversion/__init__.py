"""Input reconstruction and activation maximisation."""
