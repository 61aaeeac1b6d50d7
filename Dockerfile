# Easel in a container, on a CPU or an NVIDIA GPU: docs/hosting.md
#   docker build -t easel .
#   docker build -t easel:cuda --build-arg TORCH_BACKEND=cu128 .
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
ARG TORCH_BACKEND=cpu
ENV UV_TORCH_BACKEND=${TORCH_BACKEND} UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /src
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir 'uv>=0.9' && python3 -m venv /opt/easel
COPY requirements.txt constraints.txt overrides.txt ./
# basicsr imports torch while it is built; alone it would fetch a second torch for that.
RUN --mount=type=cache,target=/root/.cache/uv \
    install="/opt/uv/bin/uv pip install --python /opt/easel/bin/python --constraint constraints.txt --override overrides.txt" \
    && $install torch numpy setuptools wheel cython \
    && $install --no-build-isolation-package basicsr --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY studio studio
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/easel/bin/python --no-deps .

FROM ${BASE}
COPY --from=build /opt/easel /opt/easel
# The group 0 may write what the user may, so that the container runs under any user id too.
RUN mkdir -p /data && chown 1000:0 /data && chmod 770 /data
ENV EASEL_HOME=/data HOME=/data MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1 \
    STUDIO_HOST=0.0.0.0 STUDIO_AUTH_FILE=/data/users.json STUDIO_LOG_CONSOLE=1
WORKDIR /data
VOLUME /data
USER 1000:0
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["/opt/easel/bin/python", "-c", \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/api/image-studio/health/live', timeout=4)"]
ENTRYPOINT ["/opt/easel/bin/easel"]
