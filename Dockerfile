# CPU:   docker build --tag cohgen .
# CUDA:  docker build --tag cohgen:cuda --build-arg EXTRAS=cuda,prep,downstream,hub .
# Run:   docker run --rm --volume "$PWD":/work cohgen train --cohort my_tables/ --out runs/mine
#        (with --gpus all for CUDA, whose libraries come with the Python packages)
FROM python:3.11-slim

ARG EXTRAS=prep,slides,downstream,hub
WORKDIR /opt/cohgen
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY cohgen_jax ./cohgen_jax
COPY data_prep ./data_prep
RUN pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

WORKDIR /work
ENV XDG_CACHE_HOME=/tmp/cache
ENTRYPOINT ["cohgen"]
CMD ["--help"]
