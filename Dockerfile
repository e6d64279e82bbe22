# One image for every instance and for `manage.py`: a virtual environment and the code, run by nobody in particular.
#   docker build -t flotilla:local .
#   docker build --secret id=ca_bundle,src=/path/to/bundle.pem …     behind a proxy with certificates of its own

FROM python:3.13-slim-bookworm AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/venv
# Where packages come from, if not from PyPI: pip's own variables. EXTRA: what this installation needs besides, such as
# the driver of its database.
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL EXTRA
COPY requirements.txt .
RUN --mount=type=secret,id=ca_bundle --mount=type=cache,target=/root/.cache/pip \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi; \
    pip --python /opt/venv/bin/python install --only-binary :all: -r requirements.txt $EXTRA

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --home-dir /var/lib/flotilla flotilla \
    && install -d -o flotilla -g flotilla -m 0700 /var/lib/flotilla
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    FLOTILLA_VAR=/var/lib/flotilla METRICS_HOST=0.0.0.0
WORKDIR /srv/flotilla
COPY --from=packages /opt/venv /opt/venv
COPY . .
RUN python -m compileall -q .
USER flotilla
EXPOSE 8000 9400
# SIGTERM drains: not ready, then clients are told to reconnect, then the end (DRAIN_GRACE, DRAIN_DEADLINE).
STOPSIGNAL SIGTERM
CMD ["python", "-m", "realtime.server.daphne", "-b", "0.0.0.0", "-p", "8000", "project.asgi:application"]
