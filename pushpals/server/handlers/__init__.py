"""One small file for each area: decode, ask the hub, reply."""
