# The adapter: what Immich talks to. Holds no Triton and no model weights.
# Build from the checkout: docker build -f docker/adapter.Dockerfile .
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip
WORKDIR /build
COPY pyproject.toml constraints.txt /build/
# The dependencies first: this layer stays when only our code changes.
RUN python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        >requirements.txt \
    && pip install --no-cache-dir --target /opt/python -r requirements.txt -c constraints.txt \
    && find /opt/python -type d -name tests -prune -exec rm -r {} +
COPY README.md LICENSE hatch_build.py /build/
COPY adapter /build/adapter
COPY demo /build/demo
COPY transforms /build/transforms
COPY backends /build/backends
RUN pip install --no-cache-dir --no-deps --target /opt/app .

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*.log /var/log/apt \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin adapter \
    && install -d -m 1777 /state /state/model_repository /cache /key /tls
COPY --from=build /opt/python /opt/python
COPY --from=build /opt/app /opt/app
COPY docker/check-ping /usr/local/bin/
ENV PATH=/opt/app/bin:${PATH} \
    PYTHONPATH=/opt/app:/opt/python \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    IMMICH_TRITON_STATE_FOLDER=/state \
    MACHINE_LEARNING_CACHE_FOLDER=/cache
# Fails the build, rather than the first request, where something is missing.
RUN immich-triton version && python3 -c 'import adapter.server, adapter.preparation.worker'
USER 10001:10001
EXPOSE 3003
CMD ["immich-triton", "serve"]
