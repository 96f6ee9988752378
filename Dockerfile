# Two images from one file: `--target web` (no torch) and `--target worker` (with the models).
FROM python:3.11-slim AS web
ENV PYTHONUNBUFFERED=1 EVENHAND_VAR=/var/evenhand
WORKDIR /app
COPY requirements-web.txt requirements.txt constraints.txt ./
RUN pip install --no-cache-dir -r requirements-web.txt -c constraints.txt
COPY . .
ENV EVENHAND_STATIC=/app/collected
RUN EVENHAND_VAR=/tmp/collecting python manage.py collectstatic --no-input && rm -r /tmp/collecting
RUN useradd --system --home /var/evenhand --create-home evenhand && chown evenhand /var/evenhand
USER evenhand
EXPOSE 8000
CMD ["sh", "-c", "python manage.py migrate && exec gunicorn evenhand.config.wsgi --bind 0.0.0.0:8000 --workers 3 --threads 4 --keep-alive 75"]

FROM web AS worker
# Freed memory is kept: on a CPU, giving it back and asking again costs up to a fifth of the time (docs/performance.md).
ENV MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=1073741824
USER root
RUN pip install --no-cache-dir -r requirements.txt -c constraints.txt
USER evenhand
CMD ["celery", "--app", "evenhand.config", "worker", "--pool", "solo", "--queues", "cpu,gpu", "--loglevel", "INFO"]
