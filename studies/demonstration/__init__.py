"""The demonstration: a worker process, a web server, simulated evaluators, progress in the terminal."""
