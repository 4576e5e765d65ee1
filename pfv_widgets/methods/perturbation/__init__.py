"""Input modification: occlusion and RISE."""
