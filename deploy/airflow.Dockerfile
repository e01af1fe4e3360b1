# Every part of Airflow, and Nightreel's command line.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
WORKDIR /build
COPY requirements/setup.txt ./
RUN pip install --no-cache-dir --require-hashes -r setup.txt
COPY requirements/airflow.txt ./
# Compiled here, for the root file system is read-only later on. What only builds and tests of libraries read goes.
RUN --mount=type=cache,target=/root/.cache/uv uv venv --quiet --system-site-packages /opt/venv \
 && UV_LINK_MODE=copy uv pip install --quiet --python /opt/venv/bin/python --compile-bytecode --require-hashes -r airflow.txt
COPY deploy/trim.sh /usr/local/bin/
RUN trim.sh /opt/venv

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 50000 airflow \
 && useradd --uid 50000 --gid airflow --no-create-home --home-dir /opt/airflow airflow \
 && install -d -o airflow -g airflow /opt/airflow /opt/airflow/logs /var/lib/nightreel/bundles /var/lib/nightreel/ratings
COPY --from=packages /opt/venv /opt/venv
COPY --chmod=755 deploy/airflow-init.py /usr/local/bin/nightreel-airflow-init
COPY nightreel /app/nightreel
COPY spark_jobs /app/spark_jobs
COPY dags /app/dags
ARG REVISION=unknown
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/app/dags \
    NIGHTREEL_CODE_REVISION=${REVISION}
RUN python -m compileall -q /app
USER airflow
WORKDIR /opt/airflow
VOLUME ["/opt/airflow/logs", "/var/lib/nightreel/bundles", "/var/lib/nightreel/ratings"]
ENTRYPOINT ["airflow"]
CMD ["version"]
