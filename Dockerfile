FROM python:3.13-slim AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /build && python -m venv --without-pip /opt/keptn-remedy
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN /build/bin/pip install --require-hashes -r requirements-build.lock \
    && /build/bin/pip --python /opt/keptn-remedy/bin/python install --no-compile --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY actions actions
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /src/dist . \
    && /build/bin/pip --python /opt/keptn-remedy/bin/python install --no-compile --no-deps /src/dist/*.whl \
    # The root file system is read-only later: without this each start compiles for seconds.
    && /opt/keptn-remedy/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/keptn-remedy/lib

FROM python:3.13-slim
LABEL org.opencontainers.image.title="keptn-remedy" \
      org.opencontainers.image.description="The remediation action-provider suite for Keptn" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/keptn-remedy --shell /usr/sbin/nologin remedy \
    && install -d -o 10001 -g 10001 /var/lib/keptn-remedy
COPY --from=builder /opt/keptn-remedy /opt/keptn-remedy
ENV PATH=/opt/keptn-remedy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    REMEDY_JOURNAL=/var/lib/keptn-remedy/journal.db
USER 10001:10001
WORKDIR /var/lib/keptn-remedy
VOLUME /var/lib/keptn-remedy
EXPOSE 8080 8090
ENTRYPOINT ["remedy"]
CMD ["serve"]
