"""The FeatureVis taxonomy: input modification, deconvolutional methods, input reconstruction."""
