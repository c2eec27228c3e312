"""What a master does: change sources, schedulers, the distributor, builds and their steps, workers, the heartbeat."""
