"""The demonstration: a worker process, a web server, progress in the terminal."""
