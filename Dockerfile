# The judge in a container: `earl serve` and the workers of its farm. Simulators of fixed versions, no torch, not root.
# docs/isolation.md says how to run it so that candidates are sandboxed inside, too. `make container-test` proves it.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS verifier
# The versions are those of `container` in toolchain/versions.toml.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      iverilog=12.0-* \
      bubblewrap=0.12.* \
      python3 \
      python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home earl
# Each line is one of pyproject.toml's.
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
      "pyslang>=12.1,<13" \
      "click>=8.2,<9" \
      "rich>=14,<16" \
      "pydantic>=2.11,<3" \
      "markdown-it-py>=3,<5" \
      "pyosys>=0.70,<0.71" \
      "cocotb>=2.1,<3" \
      "fastapi>=0.115,<1" \
      "uvicorn>=0.34,<1" \
      "httpx>=0.28,<1" \
      "prometheus-client>=0.21,<1"
# Without setup.py, which builds the trainer's kernels and needs torch: pure Python, for the judge only.
COPY pyproject.toml README.md LICENSE /opt/source/
COPY toolchain /opt/source/toolchain
COPY verifiers /opt/source/verifiers
COPY hdl_bench /opt/source/hdl_bench
COPY earl /opt/source/earl
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check "setuptools>=77" \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation /opt/source \
 && rm -rf /opt/source
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
WORKDIR /home/earl
USER earl
EXPOSE 8765
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
ENTRYPOINT ["earl"]
# Off the loopback the service asks every client for the token of this file: mount one there.
CMD ["serve", "--bind", "0.0.0.0:8765", "--token-file", "/run/secrets/earl-token"]
