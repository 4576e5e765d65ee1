"""The transfer report: probes of each layer, doubtful photos, one page."""
