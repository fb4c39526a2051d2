# The image of docs/image.md: two stages, nothing taken but what requirements/ names by hash, a user who is not root.
# The base is the Python that CI tests with, on glibc (cel-expr-python has no wheels for musl). A tag moves: who builds
# gives its digest, as docs/image.md shows.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/build.txt requirements/run.txt requirements/
# The backend is pinned too, so nothing is fetched while the wheel is built; and only wheels, so that nothing is built unchecked
RUN python -m venv tools \
    && tools/bin/python -m pip install --require-hashes --only-binary :all: -r requirements/build.txt \
    && python -m venv --without-pip /opt/reconciler \
    && python -m pip --python /opt/reconciler/bin/python install --require-hashes --only-binary :all: -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY manifests manifests
COPY reconciler reconciler
RUN tools/bin/python -m pip wheel --no-index --no-deps --no-build-isolation --wheel-dir wheel . \
    && python -m pip --python /opt/reconciler/bin/python install --no-index --no-deps wheel/*.whl \
    && python -m pip --python /opt/reconciler/bin/python check

FROM ${PYTHON_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="reconciler" \
      org.opencontainers.image.description="Terraform for outgoing webhooks, with the delivery engine built in" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --system --gid 10001 reconciler \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/reconciler \
        --shell /usr/sbin/nologin reconciler \
    && install --directory --mode 0700 --owner 10001 --group 10001 /var/lib/reconciler
COPY --from=build /opt/reconciler /opt/reconciler
# Secrets come by file or variable when it runs, and stand in no layer
ENV PATH=/opt/reconciler/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    RECONCILER_STORE=sqlite:////var/lib/reconciler/reconciler.db
USER 10001:10001
WORKDIR /var/lib/reconciler
VOLUME /var/lib/reconciler
EXPOSE 8420
# SIGTERM drains for up to 20 s: give it 30 before it is killed
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["reconciler", "health"]
ENTRYPOINT ["reconciler"]
CMD ["run"]
