# Triton for hosts with an NVIDIA GPU: NVIDIA's container, and our backends beside its own. Holds no model weights.
# Older tags than the default have known security holes.
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:26.07-py3

FROM ${TRITON_IMAGE}
COPY constraints.txt docker/triton-requirements.txt /tmp/build/
# Without dependencies: what the Python steps import is all that is added. Into the system's own folder, because
# Triton's Python processes do not look at PYTHONPATH.
RUN pip install --no-cache-dir --no-deps --break-system-packages \
        -r /tmp/build/triton-requirements.txt -c /tmp/build/constraints.txt \
    && rm -r /tmp/build
COPY pyproject.toml /tmp/build/
COPY transforms /opt/app/transforms
# A C compiler, for as long as it takes to compile the kernels.
RUN pip install --no-cache-dir --target /tmp/build/compiler \
        $(python3 -c 'import tomllib; print(*tomllib.load(open("/tmp/build/pyproject.toml", "rb"))["build-system"]["requires"])') \
    && PYTHONPATH=/tmp/build/compiler python3 /opt/app/transforms/kernels/compile.py \
    && rm -r /tmp/build
COPY backends /opt/app/backends
# Ours are added to the container's, which has `onnxruntime` in C++.
RUN rm -r /opt/app/backends/onnxruntime \
    && cp -r /opt/app/backends/*/ /opt/tritonserver/backends/ \
    && echo /opt/app >"$(python3 -c 'import site; print(site.getsitepackages()[0])')/immich-triton.pth" \
    && install -d -m 1777 /state /state/model_repository /key
COPY docker/triton-entrypoint docker/check-http /usr/local/bin/
ENV PYTHONDONTWRITEBYTECODE=1 \
    TRITON_BACKENDS=/opt/tritonserver/backends
RUN python3 -c 'import cv2, numpy, pyclipper, tokenizers, transforms.faces, backends' \
    && python3 -c 'from transforms import kernels; kernels.load()'
USER 10001:10001
ENTRYPOINT ["triton-entrypoint"]
