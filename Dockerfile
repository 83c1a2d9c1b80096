# Two stages of the same base: the environment is built in the first, at the path where the second has it.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Dependencies first: the layer stays while the lock file does. Wheels only, each by its hash; no compiler is needed.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/langfuse-sidecar \
    && python -m pip --python /opt/langfuse-sidecar/bin/python install --no-cache-dir --require-hashes --only-binary=:all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY sidecar ./sidecar
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir dist . \
    && python -m pip --python /opt/langfuse-sidecar/bin/python install --no-cache-dir --no-deps dist/langfuse_sidecar-*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="langfuse-sidecar" \
      org.opencontainers.image.description="A local OTLP sidecar that delivers LLM agents' spans to Langfuse, durably" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The base's installer is not needed any more. The user has neither a home nor a shell.
RUN python -m pip uninstall --yes pip \
    && groupadd --gid 10001 sidecar \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sidecar \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/langfuse-sidecar
COPY --from=build /opt/langfuse-sidecar /opt/langfuse-sidecar
COPY deploy/kubernetes/sidecar/sidecar.yaml deploy/kubernetes/sidecar/agents.yaml /etc/langfuse-sidecar/
ENV PATH=/opt/langfuse-sidecar/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SIDECAR_DATA_DIR=/var/lib/langfuse-sidecar
VOLUME ["/var/lib/langfuse-sidecar"]
WORKDIR /var/lib/langfuse-sidecar
EXPOSE 4317 4318 9464
USER 10001:10001
STOPSIGNAL SIGTERM
# Spans are accepted and the event loop answers. Not /readyz: a buffer that is full after a long outage is no reason to end the process.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=6 \
    CMD ["python", "-c", "import socket, urllib.request; socket.create_connection(('127.0.0.1', 4318), 2).close(); urllib.request.urlopen('http://127.0.0.1:9464/livez', timeout=2)"]
ENTRYPOINT ["sidecar"]
CMD ["run", "--config", "/etc/langfuse-sidecar/sidecar.yaml"]
