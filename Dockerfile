# One image for every instance and for `manage.py`: a virtual environment and the code, run by nobody in particular.
#   docker build -t flotilla:local .
#   docker build --secret id=ca_bundle,src=/path/to/bundle.pem …     behind a proxy with certificates of its own

ARG PYTHON_IMAGE=python:3.13.15-slim-bookworm@sha256:3e2de9c40ca4e3d73240059f9d48baff27908f10293e985a2f382a0378e6df4a
FROM ${PYTHON_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/venv
# Where packages come from, if not from PyPI: pip's own variables. EXTRA: what this installation needs besides, such as
# the driver of its database; that is in no lock, so give it a version.
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL EXTRA
COPY requirements.lock .
RUN --mount=type=secret,id=ca_bundle --mount=type=cache,target=/root/.cache/pip set -e; \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi; \
    pip --python /opt/venv/bin/python install --only-binary :all: --require-hashes -r requirements.lock; \
    [ -z "$EXTRA" ] || pip --python /opt/venv/bin/python install --only-binary :all: $EXTRA
# The native part of the hot paths. `--build-arg SPEEDUPS=` leaves it out, where no compiler can be had: Python does its
# work then.
ARG SPEEDUPS=1
COPY speedups /build/flotilla/speedups
RUN set -e; mkdir /build/compiled; \
    if [ -n "$SPEEDUPS" ]; then \
        apt-get update -qq; \
        apt-get install -y -qq --no-install-recommends gcc libc6-dev; \
        python /build/flotilla/speedups/build.py /build/compiled; \
    fi

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home --home-dir /var/lib/flotilla flotilla \
    && install -d -o flotilla -g flotilla -m 0700 /var/lib/flotilla
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    FLOTILLA_VAR=/var/lib/flotilla METRICS_HOST=0.0.0.0
WORKDIR /srv/flotilla
COPY --from=packages /opt/venv /opt/venv
COPY . .
COPY --from=packages /build/compiled flotilla/
RUN python -m compileall -q .
USER flotilla
EXPOSE 8000 9400
# SIGTERM drains: not ready, then clients are told to reconnect, then the end (DRAIN_GRACE, DRAIN_DEADLINE).
STOPSIGNAL SIGTERM
CMD ["python", "-m", "flotilla.realtime.server.daphne", "-b", "0.0.0.0", "-p", "8000", "project.asgi:application"]
