# Triton: the server of the PyPI wheel, and our backends. Holds no model weights.
# Build from the checkout: docker build -f docker/triton.Dockerfile .
# RUNTIME is what runs graphs: `cpu`, or one of pyproject.toml's extras: `gpu` (CUDA 13), `gpu-cuda12`.
ARG BASE=debian:bookworm-slim
ARG RUNTIME=cpu

FROM ${BASE} AS build
ARG RUNTIME
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip unzip
COPY pyproject.toml constraints.txt docker/triton-requirements.txt /build/
WORKDIR /build
# Without dependencies: what the Python steps import is all there is. In the system's own folder, because Triton's
# Python processes do not look at PYTHONPATH.
ENV PACKAGES=/usr/local/lib/python3.11/dist-packages
RUN pip install --no-cache-dir --no-deps --target "$PACKAGES" -r triton-requirements.txt -c constraints.txt \
        $([ "$RUNTIME" != cpu ] || echo onnxruntime) \
    && find "$PACKAGES" -type d -name tests -prune -exec rm -r {} +
# With dependencies: CUDA's libraries.
RUN if [ "$RUNTIME" != cpu ]; then \
        python3 -c 'import sys, tomllib; print(*tomllib.load(sys.stdin.buffer)["project"]["optional-dependencies"][sys.argv[1]])' \
            "$RUNTIME" <pyproject.toml \
        | xargs pip install --no-cache-dir --target gpu -c constraints.txt \
        && cp -rn gpu/. "$PACKAGES"; \
    fi
# The wheel's layout stays as it is: the server finds its libraries by it.
RUN pip download --no-cache-dir --no-deps -c constraints.txt nvidia-pytriton \
    && unzip -q nvidia_pytriton-*.whl 'pytriton/tritonserver/*' 'nvidia_pytriton.libs/*' -d /opt/triton \
    && mv /opt/triton/pytriton/tritonserver/backends /opt/triton/backends \
    && mv /opt/triton/pytriton/tritonserver/python_backend_stubs/3.11/* /opt/triton/backends/python/ \
    && rm -r /opt/triton/pytriton/tritonserver/python_backend_stubs \
    && chmod 755 /opt/triton/pytriton/tritonserver/bin/tritonserver \
                 /opt/triton/backends/python/triton_python_backend_stub
COPY pyproject.toml /build/
COPY transforms ${PACKAGES}/transforms
# A C compiler, for as long as it takes to compile the kernels.
RUN pip install --no-cache-dir --target /tmp/compiler \
        $(python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])') \
    && PYTHONPATH=/tmp/compiler python3 "$PACKAGES/transforms/kernels/compile.py"
COPY backends ${PACKAGES}/backends
RUN cp -r "$PACKAGES"/backends/*/ /opt/triton/backends/ \
    && python3 -m compileall -q "$PACKAGES/transforms" "$PACKAGES/backends" /opt/triton/backends

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 libpython3.11 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*.log /var/log/apt \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin triton \
    && install -d -m 1777 /state /state/model_repository /key
COPY --from=build /usr/local/lib/python3.11/dist-packages /usr/local/lib/python3.11/dist-packages
COPY --from=build /opt/triton /opt/triton
COPY docker/triton-entrypoint docker/check-http /usr/local/bin/
ENV PATH=/opt/triton/pytriton/tritonserver/bin:${PATH} \
    LD_LIBRARY_PATH=/opt/triton/nvidia_pytriton.libs \
    MALLOC_ARENA_MAX=2 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONDONTWRITEBYTECODE=1 \
    TRITON_BACKENDS=/opt/triton/backends
# Fails the build, rather than the first request, where something is missing.
RUN python3 -c 'import cv2, numpy, onnxruntime, tokenizers, transforms.faces, backends' \
    && python3 -c 'from transforms import kernels; kernels.load()' \
    && ! ldd "$(command -v tritonserver)" | grep 'not found'
USER 10001:10001
ENTRYPOINT ["triton-entrypoint"]
