"""What several of these questions need: labels, intervals, a network's scores, suspects."""
