"""What tests of plugins need: a database in memory, a worker that does what a test says, a clock that it moves."""
