"""From scores to colours: weighting, normalisation, colour maps, compositing."""
