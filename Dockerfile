# One image for everything: `tpctl up …`, `tpworker …`, and `tpctl` itself are commands of it.
# The Python that the tests run on; any from 3.11 will do.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY control control
COPY store store
COPY tui tui
COPY workers workers
# The variables reach the build backend too, which pip fetches in an environment of its own.
ENV PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/taskplane && /opt/taskplane/bin/pip install -c constraints.txt '.[kafka]'

FROM python:${PYTHON}-slim-bookworm
COPY --from=build /opt/taskplane /opt/taskplane
COPY --chmod=755 deploy/worker-credentials.sh /usr/local/bin/worker-credentials
# Fresh volumes get the owner and mode of the directories they are mounted on.
RUN groupadd --gid 10001 taskplane \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/taskplane taskplane \
    && install -d -m 700 -o taskplane -g taskplane /var/lib/taskplane /etc/taskplane
ENV PATH=/opt/taskplane/bin:$PATH TP_DATA_DIR=/var/lib/taskplane PYTHONUNBUFFERED=1
WORKDIR /var/lib/taskplane
USER 10001:10001
VOLUME /var/lib/taskplane
EXPOSE 8700 8701
STOPSIGNAL SIGTERM
CMD ["tpctl", "--help"]
