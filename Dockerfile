# Three images from one file: `--target web` (no torch), `--target worker-cpu` and `--target worker-gpu` (with the models).
FROM python:3.11-slim-trixie AS packages
WORKDIR /build
RUN python -m venv /opt/evenhand
ENV PATH=/opt/evenhand/bin:$PATH
COPY requirements-web.txt requirements-s3.txt requirements.txt constraints.txt ./
RUN pip install --no-cache-dir -r requirements-web.txt -r requirements-s3.txt -c constraints.txt

# TORCH_INDEX: an index of torch builds without CUDA makes this image some gigabytes smaller.
FROM packages AS packages-cpu
ARG TORCH_INDEX=
RUN pip install --no-cache-dir -r requirements.txt -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}

# PyPI's torch for Linux brings CUDA's libraries; the host gives the driver (NVIDIA Container Toolkit).
FROM packages AS packages-gpu
RUN pip install --no-cache-dir -r requirements.txt -c constraints.txt

FROM python:3.11-slim-trixie AS base
# pg_dump and pg_restore, for `manage.py backup` and `manage.py restore`
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/*
RUN useradd --system --user-group --uid 10001 --home-dir /var/evenhand --no-create-home evenhand && \
    install --directory --owner evenhand --group evenhand --mode 700 /var/evenhand
ENV PYTHONUNBUFFERED=1 PATH=/opt/evenhand/bin:$PATH EVENHAND_VAR=/var/evenhand
WORKDIR /app

FROM base AS web
ENV EVENHAND_STATIC=/app/collected
COPY --from=packages /opt/evenhand /opt/evenhand
COPY . .
RUN EVENHAND_VAR=/tmp/collecting python manage.py collectstatic --no-input && rm -r /tmp/collecting
USER evenhand
EXPOSE 8000
CMD ["gunicorn", "--config", "python:evenhand.config.serving", "evenhand.config.wsgi", "--bind", "0.0.0.0:8000", "--workers", "3", "--threads", "4", "--keep-alive", "75"]

FROM base AS worker-cpu
# Freed memory is kept: on a CPU, giving it back and asking again costs up to a fifth of the time (docs/performance.md).
ENV MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=1073741824
COPY --from=packages-cpu /opt/evenhand /opt/evenhand
COPY . .
USER evenhand
CMD ["celery", "--app", "evenhand.config", "worker", "--pool", "solo", "--queues", "cpu", "--loglevel", "INFO"]

FROM base AS worker-gpu
COPY --from=packages-gpu /opt/evenhand /opt/evenhand
COPY . .
USER evenhand
CMD ["celery", "--app", "evenhand.config", "worker", "--pool", "solo", "--queues", "gpu", "--loglevel", "INFO"]
