# The judge in a container: simulators of Debian 12, no torch, no root. A first form that has not been built yet.
#   docker build --target verifier -t earl-verifier .
#   docker run --rm -v $PWD:/data earl-verifier --problem /data/p.json --candidate /data/c.v
FROM debian:bookworm-slim AS verifier
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      iverilog=11.0-* bubblewrap python3 python3-venv ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home earl
WORKDIR /opt/earl
COPY toolchain toolchain
COPY verifiers verifiers
COPY hdl_bench hdl_bench
COPY earl earl
RUN python3 -m venv .venv \
 && .venv/bin/pip install --no-cache-dir 'pyslang>=12.1,<13' 'pydantic>=2.11,<3' 'click>=8.2,<9' 'rich>=14,<16' \
      'markdown-it-py>=3,<5' 'numpy>=2'
ENV PYTHONPATH=/opt/earl PATH=/opt/earl/.venv/bin:$PATH
USER earl
ENTRYPOINT ["python", "-c", "from earl.cli import main; main()", "verify"]
