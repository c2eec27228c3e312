"""The engine: the distributor, builds and their steps, workers, locks, the heartbeat, the master's services."""
