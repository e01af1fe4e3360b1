# The site.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
WORKDIR /build
COPY requirements/setup.txt ./
RUN pip install --no-cache-dir --require-hashes -r setup.txt
COPY requirements/web.txt ./
RUN --mount=type=cache,target=/root/.cache/uv uv venv --quiet /opt/venv \
 && UV_LINK_MODE=copy uv pip install --quiet --python /opt/venv/bin/python --compile-bytecode --require-hashes -r web.txt
COPY deploy/trim.sh /usr/local/bin/
RUN trim.sh /opt/venv

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 50001 nightreel \
 && useradd --uid 50001 --gid nightreel --no-create-home --home-dir /var/lib/nightreel nightreel \
 && install -d -o nightreel -g nightreel -m 700 /var/lib/nightreel/site
COPY --from=packages /opt/venv /opt/venv
COPY nightreel/__init__.py /app/nightreel/
COPY nightreel/bundle /app/nightreel/bundle
COPY nightreel/recommend /app/nightreel/recommend
COPY web /app/web
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NIGHTREEL_SITE_DATA=/var/lib/nightreel/site
RUN python -m compileall -q /app
USER nightreel
WORKDIR /app/web
VOLUME /var/lib/nightreel/site
EXPOSE 8000
CMD ["gunicorn", "--config", "gunicorn.conf.py", "--worker-tmp-dir", "/tmp", "--bind", "0.0.0.0:8000", "config.wsgi"]
