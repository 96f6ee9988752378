"""Run the demonstration's child processes, and show its progress in the terminal."""
