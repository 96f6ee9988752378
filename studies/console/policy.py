"""The content policy of a figure that is opened by itself: it brings its own styles, and nothing else."""

FIGURE_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
