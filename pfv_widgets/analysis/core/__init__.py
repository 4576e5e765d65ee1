"""What several of these questions need: labels, masks, intervals, a network's scores, suspects."""
