# EC2 on one machine: the AWS endpoint, and the hosts of its instances with Spark and Java.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS java
# hadolint ignore=DL3008 (Debian keeps no older version of a package that could be pinned)
RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jdk-headless binutils \
 && rm -rf /var/lib/apt/lists/*
# A Java of the modules that Spark loads: a third of the package's size.
RUN jlink --output /opt/java --strip-debug --no-man-pages --no-header-files --compress=2 \
    --add-modules java.se,jdk.unsupported,jdk.incubator.vector,jdk.management,jdk.net,jdk.security.auth,jdk.security.jgss,jdk.zipfs,jdk.crypto.ec,jdk.charsets,jdk.httpserver

FROM ${PYTHON_IMAGE} AS packages
WORKDIR /build
COPY requirements/setup.txt ./
RUN pip install --no-cache-dir --require-hashes -r setup.txt
COPY requirements/sandbox.txt ./
RUN --mount=type=cache,target=/root/.cache/uv uv venv --quiet /opt/venv \
 && UV_LINK_MODE=copy uv pip install --quiet --python /opt/venv/bin/python --compile-bytecode --require-hashes -r sandbox.txt
COPY deploy/trim.sh /usr/local/bin/
RUN trim.sh /opt/venv \
 && rm -rf /opt/venv/lib/python3.12/site-packages/pyspark/examples /opt/venv/lib/python3.12/site-packages/pyspark/data \
    /opt/venv/lib/python3.12/site-packages/pyspark/jars/kubernetes-* \
    /opt/venv/lib/python3.12/site-packages/pyspark/jars/rocksdbjni-*

FROM ${PYTHON_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends curl iproute2 procps \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 50002 sandbox \
 && useradd --uid 50002 --gid sandbox --no-create-home --home-dir /var/lib/sandbox sandbox \
 && install -d -o sandbox -g sandbox -m 700 /var/lib/sandbox
COPY --from=java /opt/java /opt/java
COPY --from=packages /opt/venv /opt/venv
COPY --chmod=755 deploy/sandbox-entrypoint.sh /usr/local/bin/sandbox-entrypoint
COPY nightreel/__init__.py /app/nightreel/
COPY nightreel/sandbox /app/nightreel/sandbox
ENV PATH=/opt/venv/bin:/opt/java/bin:$PATH \
    JAVA_HOME=/opt/java \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/sandbox \
    NIGHTREEL_SANDBOX_STATE=/var/lib/sandbox
RUN python -m compileall -q /app
# It begins as root to be given the instances' addresses, and goes on as `sandbox`, with no capability.
# hadolint ignore=DL3002
USER root
WORKDIR /var/lib/sandbox
VOLUME /var/lib/sandbox
ENTRYPOINT ["sandbox-entrypoint"]
CMD ["python", "-m", "nightreel.sandbox.server"]
